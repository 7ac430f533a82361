"""`artfp attribute fit`, `baseline`, `train` and `visnet`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.passive.settings import (
    FitAttributorSettings,
    FitBaselineSettings,
    TrainAttributorSettings,
    TrainVisNetSettings,
)

if TYPE_CHECKING:
    from artfp.passive.fit import AttributorFit

_CODES = """\
exit codes: 0 done, 1 some images could not be used (each is named)"""

_FIT = """\
Fit an attributor to the images of several sources. FOLDER has one subfolder of images for each
source: images that a generator made, that a camera took, or real images of one kind. No option is
needed.

Three methods are fitted, and the best on held-out images is kept:
  matched   correlation of an image's noise residual with the mean residual of each source (Marra et
            al. 2019), whitened over frequencies and colours, without what all sources share
  spectrum  a linear discriminant of log spectra, which does not depend on the position
  fusion    both
The extractor of noise residuals is chosen by the held-out images as well. --method plain is the
correlation as published.

policies for sizes (no image is ever resized):
  aligned   pixels are where they were when the source made the image: whole images. The default
            where all images have one size
  shift     crops from anywhere: a window is searched for in the fingerprints
  spectrum  only features that do not depend on the position. The default where sizes differ

Sites and messengers recompress images, and JPEG hides much of what distinguishes sources. So the
attributor is also fitted to a copy of every image after JPEG of a quality from 75 to 100, with all
methods but plain, and takes images as they are and recompressed ones. That takes about twice the
time, and recompressed images of other sources are rejected ("none of these") less often.
--recompress false fits to the images as they are alone, for uses in which no file is ever
recompressed. Images that are JPEG files already are compressed once more, as a site would do.

A fraction --alpha of the sources' own images is rejected ("none of these"); artfp attribute report
measures how many images of other sources are. Files are compared first: a warning names sources
that codec, size, JPEG tables, metadata or traces of JPEG in the pixels alone could tell apart,
since then a high accuracy shows little."""

_FIT_EPILOG = f"""\
examples:
  artfp attribute fit dumps/
  artfp attribute fit dumps/ --output_dir crops --policy shift --window 96
  artfp attribute fit dumps/ --output_dir published --method plain --extractor wavelet:sigma=5

writes into --output_dir:
  attributor.safetensors  all that predict and report need
  attributor.json         its card: sources, choices, validation, warnings

A run that was stopped goes on where it stopped when the same command is given again.

{_CODES}"""

_BASELINE = """\
Fit a baseline of Yu et al. 2019 to a folder of sources, to compare with the methods of artfp
attribute fit. The attributor is of the same kind: predict, report and artfp robustness take it.

kinds:
  nearest    the source of the nearest reference image, by the Euclidean distance of pixels. All
             images go into the attributor, as 8-bit pixels
  eigenface  the source with the nearest mean, in coordinates along the principal components of all
             images' pixels. Choices that held-out images decide: the Euclidean distance of Turk and
             Pentland 1991 or that in standard deviations of each coordinate (Mahalanobis), along
             32, 128 or 512 components

The same score model as for the other methods gives likelihoods from the distances to all sources.
Images must be as the sources made them (policy aligned); smaller windows are cut from the
middle."""

_BASELINE_EPILOG = f"""\
examples:
  artfp attribute baseline dumps/ --kind nearest --output_dir nearest
  artfp attribute baseline dumps/ --kind eigenface --output_dir eigenface --components 256
  artfp attribute report labelled/ --attributor eigenface

writes into --output_dir: attributor.safetensors and attributor.json, as artfp attribute fit.

{_CODES}"""

_TRAIN = """\
Train a network to classify images by source, as Yu, Davis and Fritz (ICCV 2019) do. FOLDER has one
subfolder of images for each source, as for artfp attribute fit; the result is an attributor of the
same kind: predict, report and artfp robustness take it.

networks:
  compact    a small residual network with batch normalisation whose input is the image and its
             high-pass. It needs far fewer images and far less time. The default
  published  the classifier of the paper: 8.9 million weights, no normalisation

A fifth of the images of each source, by name, is held out (at least 50 where there are 100), or
--validation_dir has others; the card and artfp attribute report name them. They
calibrate the scores, so that images are rejected ("none of these") with a known error. Rejection
goes by features of early layers, not by the scores; an immunised network takes images of an unknown
source for perturbed images of a known one. Images are cut to squares with a side of 32, 64, 128 or
256 pixels from their middle, never resized.

studies of the paper:
  --low_pass 8         images without their fine detail: made smaller by 8 and large again
  --high_pass 8        only what that takes away
  --convolve_from 32   published network: maps are convolved down to 32 pixels a side, then only
                       pooled; at 128 px its patches have 3, 10, 24, 52, 108 or 128 pixels with
                       128, 64, 32, 16, 8 or 4 (4: the whole network)
  --immunise NAMES     perturb the training images: relight, crop, blur, jpeg, noise, each with
                       probability one half and strengths from the published ranges, in that order;
                       or all. With --init a trained attributor is trained further

Files are compared first: a warning names sources that codec, size, JPEG tables or metadata alone
could tell apart, since then a high accuracy shows little."""

_TRAIN_EPILOG = f"""\
examples:
  artfp attribute train dumps/
  artfp attribute train dumps/ --output_dir published --network published --max_time 00:00:30:00
  artfp attribute train dumps/ --output_dir immune --init attributor --immunise jpeg,noise
  artfp attribute report labelled/ --attributor immune

writes into --output_dir:
  attributor.safetensors  all that predict and report need
  attributor.json         its card: sources, choices, validation, warnings
  config.yaml             the settings
  checkpoints/            the last state; go on from it with --resume
  tensorboard/            loss, accuracy, confusions (tensorboard --logdir OUTPUT_DIR/tensorboard)

{_CODES}"""

_VISNET = """\
Train a network with visible evidence, after the visualisation network of Yu, Davis and Fritz (ICCV
2019). An autoencoder learns what images of all sources share; an image's fingerprint is what it
does not reconstruct. The score of a source is the inner product of that with the source's own
fingerprint, of the same size: the pictures show both, and the contribution of each pixel.

The attributor is one as of artfp attribute fit: predict, report and artfp robustness take it.
Whole images only, cut to a square with a side of 32, 64, 128 or 256 pixels from their middle. A
fifth of the images of each source is held out; it calibrates the scores and is shown.

The autoencoder is small: 0.2 million weights. --size published has the layers of the paper, 14
million at 128 pixels, for many images and a GPU."""

_VISNET_EPILOG = f"""\
examples:
  artfp attribute visnet dumps/ --output_dir visnet
  artfp attribute visnet dumps/ --output_dir visnet --max_steps 20000 --resume
  artfp attribute report labelled/ --attributor visnet
  artfp attribute predict suspects/ --attributor visnet --pictures shown

writes into --output_dir:
  attributor.safetensors, attributor.json   as artfp attribute fit
  model_fingerprints.png                    of each source, about gray; the factor is below
  image_fingerprints.png                    of some held-out images of each source, likewise
  responses.png                             contributions of pixels to the scores, means over
                                            held-out images: rows images, columns models
  responses.csv                             mean scores: the sums of these over the pixels
  checkpoints/, tensorboard/                the last state (--resume); losses and pictures

{_CODES}"""


def _fit(settings: FitAttributorSettings) -> int:
    from artfp.passive.fit import fit_attributor
    from artfp.passive.fitting.select import METHODS

    found = fit_attributor(settings)
    copies = " and recompressed copies" if found.recompressed else ""
    _print_trials(found, f"held-out images{copies}", METHODS)
    if found.recompressed:
        console().print(
            f"{found.chosen}: the likeliest is right for {found.validation.accuracy:.2%} of the "
            f"images as they are, {found.recompressed.accuracy:.2%} of the copies"
        )
    for method, trials in found.extractors.items():
        number = f", the best of {len(trials)}" if len(trials) > 1 else ""
        console().print(f"{method}: {trials[0].what}{number}", markup=False)
    return _print_end(found, settings.output_dir)


def _baseline(settings: FitBaselineSettings) -> int:
    from artfp.passive.fit import fit_baseline_attributor

    found = fit_baseline_attributor(settings)
    _print_trials(found)
    return _print_end(found, settings.output_dir)


def _train(settings: TrainAttributorSettings) -> int:
    from artfp.passive.fit import train_attributor

    found = train_attributor(settings)
    if found is None:
        return 0
    trial, training = found.methods[0], found.attributor.metadata["training"]
    _print_images(found)
    console().print(
        f"{training['steps']} steps; {training['held_out']} held-out images: accuracy "
        f"{trial.largest:.2%} by the largest logit, {found.validation.accuracy:.2%} by "
        f"likelihoods, log loss {found.validation.log_loss:.4f}",
        soft_wrap=True,
    )
    return _print_end(found, settings.output_dir)


def _visnet(settings: TrainVisNetSettings) -> int:
    from artfp.passive.fit import train_visnet_attributor

    found = train_visnet_attributor(settings)
    _print_trials(found)
    card = found.attributor.parts[0].card()
    print(f"{card['size']} network: {card['weights']:,} weights at {card['resolution']} px")
    return _print_end(found, settings.output_dir)


def _print_images(found: AttributorFit) -> None:
    attributor = found.attributor
    print(
        f"{count_images(found.images)} of {len(attributor.sources)} sources; "
        f"{attributor.policy.describe()}"
    )


def _print_trials(
    found: AttributorFit,
    title: str = "held-out images",
    methods: dict[str, str] | None = None,
) -> None:
    """Print the choices that were compared; `methods` has descriptions of methods."""
    from artfp.data.tables import Column, rich_table

    _print_images(found)
    columns = [
        Column("method" if methods else found.chosen, "what"),
        Column("accuracy", form=".2%", align="right"),
        Column("largest score", "largest", ".2%", "right"),
        Column("log loss", "log_loss", ".4f", "right"),
    ]
    trials = [] if methods else [each for part in found.extractors.values() for each in part]
    if methods:
        columns.insert(1, Column("", lambda trial: methods[trial.what]))
    console().print(rich_table(trials or found.methods, columns, title))


def _print_end(found: AttributorFit, output: Path) -> int:
    """Print the results by source, the files and the next step; return the exit code."""
    from artfp.data.tables import Column, rich_table

    valid = found.validation
    rows = [
        (name, row[k] / sum(row), valid.wrong[k], valid.undecided[k], valid.rejected[k])
        for k, (name, row) in enumerate(zip(found.attributor.sources, valid.confusion, strict=True))
    ]
    heads = ("likeliest", "named another", "undecided", "none of these")
    columns = [Column("source"), *(Column(head, form=".1%", align="right") for head in heads)]
    console().print(rich_table(rows, columns, f"{found.chosen}, by true source"))
    console().print(
        f"wrote {', '.join(found.files)} into {one_line(str(output))}", soft_wrap=True, markup=False
    )
    print_next_step(f"artfp attribute predict IMAGES --attributor {one_line(str(output))}")
    return report_unusable(found.failed)


COMMAND = Command(FitAttributorSettings, _fit, _FIT, _FIT_EPILOG)
BASELINE = Command(FitBaselineSettings, _baseline, _BASELINE, _BASELINE_EPILOG)
TRAIN_ATTRIBUTOR = Command(TrainAttributorSettings, _train, _TRAIN, _TRAIN_EPILOG)
TRAIN_VISNET = Command(TrainVisNetSettings, _visnet, _VISNET, _VISNET_EPILOG)
