"""`artfp denoiser`, `artfp attribute fingerprint` and `artfp attribute correlate`."""

from __future__ import annotations

import sys

from artfp.core.command import Command, count_images, report_left_out, report_unusable
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.passive.residuals.settings import (
    CorrelateSettings,
    DenoiserSettings,
    ResidualFingerprintSettings,
)

_DENOISER = """\
Train a small network to find Gaussian noise of 1 to 10 grey levels in your images. What it then
finds in an image is a noise residual, beside those of the wavelet and the other filters: extractor
learned. A denoiser comes with artfp; train another where your images are of another kind.

The result's card has the PSNR that it leaves on images that were set aside."""

_DENOISER_EPILOG = """\
examples:
  artfp denoiser --data_dir photos/ --output denoiser.safetensors

exit codes: 0 trained, 130 interrupted (nothing is kept: it takes minutes)"""

_FINGERPRINT = """\
Estimate the residual fingerprint of one source, the mean noise residual of its images (Marra et al.
2019; of a camera, its PRNU), and write it to a file. The file holds sums, so more images can be
added later, and what several machines have estimated can be merged, exactly; its card has source,
number of images, size, extractor, and the codecs and sizes of the images. Memory does not grow with
the number of images."""

_FINGERPRINT_EPILOG = """\
examples:
  artfp attribute fingerprint flat_fields/ --output nikon.safetensors
  artfp attribute fingerprint more/ --merge nikon.safetensors --output nikon.safetensors
  artfp attribute fingerprint --merge part1.safetensors,part2.safetensors --output all.safetensors

exit codes: 0 done, 1 some images could not be used (each is named)"""

_CORRELATE = """\
Correlate the noise residuals of images with residual fingerprints of sources: a line of CSV for
each image, with a column for each source and the one that scores highest. These are bare scores;
for verdicts with error rates fit an attributor (artfp attribute fit).

With --pce the score is the peak-to-correlation energy: the image is searched for at every circular
shift of the fingerprint, so that one that was cropped is found; the table also has the place of its
upper-left corner in each fingerprint. Images that are larger than the fingerprint are cut at the
right and the bottom.

The options of camera forensics are off by default. As measured, what helps with cameras can harm
with generators, whose fingerprints are periodic."""

_CORRELATE_EPILOG = """\
examples:
  artfp attribute correlate photos/ --residual_fingerprints nikon.safetensors,canon.safetensors
  artfp attribute correlate photos/ --residual_fingerprints nikon.safetensors,canon.safetensors \\
      --zero_mean --subtract_grand_mean --output scores.csv
  artfp attribute correlate cropped.png --residual_fingerprints nikon.safetensors --pce

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _denoiser(settings: DenoiserSettings) -> int:
    from artfp.data.tables import rich_table
    from artfp.passive.residuals.denoiser_training import train_denoiser

    card = train_denoiser(settings)
    for name, measured in card["measured"].items():
        rows = [
            {"PSNR in dB": noise, **values}
            for noise, values in measured.items()
            if noise != "images"
        ]
        title = f"{name}: measured on {count_images(measured['images'])}, set aside before training"
        console().print(rich_table(rows, title=title, floats=".2f", boxed=True))
    print(f"wrote {one_line(str(settings.output))}")
    print_next_step(
        f"artfp attribute fingerprint IMAGES --extractor learned:weights={settings.output} "
        "--output SOURCE.safetensors"
    )
    return report_left_out(card["training"].get("left_out", 0))


def _fingerprint(settings: ResidualFingerprintSettings) -> int:
    from artfp.passive.residuals.estimate import make_residual_fingerprint

    found, failed = make_residual_fingerprint(settings)
    channels, height, width = found.shape
    print(
        f"{one_line(found.source)}: {count_images(found.count)}, {width}x{height}, "
        f"{channels} colours, {found.extractor}; wrote {one_line(str(settings.output))}"
    )
    print_next_step(
        f"artfp attribute correlate IMAGES --residual_fingerprints {settings.output},..."
    )
    return report_unusable(failed)


def _correlate(settings: CorrelateSettings) -> int:
    from artfp.passive.residuals.correlate import correlate_images

    table = correlate_images(settings)
    if settings.output is None:
        sys.stdout.write(table.to_csv())
    return report_unusable(table.failed)


COMMAND = Command(DenoiserSettings, _denoiser, _DENOISER, _DENOISER_EPILOG)
FINGERPRINT = Command(ResidualFingerprintSettings, _fingerprint, _FINGERPRINT, _FINGERPRINT_EPILOG)
CORRELATE = Command(CorrelateSettings, _correlate, _CORRELATE, _CORRELATE_EPILOG)
