"""`artfp attribute fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.progress import stages
from artfp.passive.attribute_fitting import add_rule_options, examined, tell_by_source

DESCRIPTION = """\
Learn to tell sources apart. FOLDER has one subfolder of images for each source: what a generator
made, a camera took, or real images of one kind. No flag is needed.

Three ways are fitted, and the best on held out images is kept:
  matched   correlation of an image's noise residual with the mean residual of each source (Marra et
            al. 2019), whitened over frequencies and colours, without what all sources share
  spectrum  a linear discriminant of log spectra, which does not depend on the place
  fusion    both
The denoiser and its strength are chosen by the held out images as well. --way plain is the
correlation as published.

policies for sizes (no image is ever resized):
  aligned   pixels stand where they stood when the source made the image: whole images. The default
            where all images have one size
  shift     crops from anywhere: a window is searched for in the fingerprints
  spectrum  only what does not depend on the place. The default where sizes differ

Images change on their way, and JPEG hides much of what tells sources apart. So every image is also
fitted to in a copy that JPEG of a quality from 75 to 100 has gone over, in all ways but plain, and
an attributor so fitted takes images as they are and recompressed ones. That takes about twice the
time, and "none of these" is said less often of recompressed images of other sources. --recompress
false fits to the images as they are alone, for where no file is ever recompressed. Images that are
JPEG files already are compressed once more, as a site that they are put on would do.

A share --alpha of the sources' own images is called "none of these"; how many images of other
sources are, tells artfp attribute report. Files are compared first: sources that codec, size, JPEG
tables, metadata or traces of JPEG in the pixels alone would tell apart are warned of, since then a
high accuracy shows little."""

EPILOG = """\
examples:
  artfp attribute fit dumps/
  artfp attribute fit dumps/ --output_dir crops --policy shift --window 96
  artfp attribute fit dumps/ --output_dir published --way plain --extractor wavelet:sigma=5

writes into --output_dir:
  attributor.safetensors  all that predict and report need
  attributor.json         its card: sources, choices, validation, warnings

A run that was stopped goes on where it stopped when the same command is given again.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--output_dir", default="attributor", help="Folder for the attributor.")
    add("--policy", type=str | None, default=None, metavar="NAME",
        help="aligned, shift or spectrum; default: by the images' sizes.")  # fmt: skip
    add("--window", type=int | None, default=None,
        help="Side in pixels of what is cut of every image; default: as large as the images of "
        "all sources, at most 256, for shift three quarters.")  # fmt: skip
    add("--way", type=str | None, default=None, metavar="NAME",
        help="plain, matched, spectrum or fusion; default: the best but plain.")  # fmt: skip
    add("--extractor", type=str | None, default=None, metavar="NAME[:SETTING=VALUE,...]",
        help="What makes residuals, such as wavelet:sigma=1; default: the best of "
        "eight.")  # fmt: skip
    add("--recompress", type=bool, default=True,
        help="Also fit to recompressed copies of the images.")  # fmt: skip
    add_rule_options(parser)
    add("--limit", type=int, default=1000, help="At most so many images of each source.")
    add("--seed", type=int, default=0, help="Of the folds and the copies.")
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    if args.limit < 1:
        raise UserError(f"--limit: found {args.limit}, expected 1 or more")

    from artfp.data.sources import (
        open_sources,
    )
    from artfp.passive.attributors.bundle import save_attributor
    from artfp.passive.attributors.verdicts import DecisionRule
    from artfp.passive.fitting.card import describe_fit
    from artfp.passive.fitting.image_set import AS_IS, ImageSet
    from artfp.passive.fitting.select import PLAIN_METHOD, FitOptions, TrialJournal, fit_methods

    device, rules = torch_device(args), DecisionRule(args.alpha, args.confidence)
    options = FitOptions(args.way, args.extractor, rules, device)
    sources, output = open_sources(Path(args.folder)), Path(args.output_dir)
    asked = {
        name: getattr(args, name)
        for name in ("policy", "window", "way", "extractor", "recompress", "limit", "seed")
    }
    guard = examined(sources)
    with stages() as tick:
        image_set = ImageSet(
            sources,
            policy=args.policy,
            window=args.window,
            limit=args.limit,
            recompress=args.recompress and args.way != PLAIN_METHOD,
            seed=args.seed,
            folder=output,
            tick=tick,
        )
        originals = int((image_set.states == AS_IS).sum())
        print(f"{count_images(originals)} of {len(sources)} sources; {image_set.policy.describe()}")
        memory = TrialJournal(output, {"sources": image_set.digest, **asked})
        found = fit_methods(image_set, options, output.resolve().name, tick, memory)
    found.attributor.metadata.update(describe_fit(image_set, found, guard, asked))
    files = save_attributor(found.attributor, output)
    memory.forget()
    image_set.close()
    _tell(found)
    tell_by_source(found)
    print(f"wrote {' and '.join(files)} into {one_line(str(output))}")
    return report_unusable(image_set.failed)


def _tell(found: Any) -> None:
    """What was tried on held out images, and what was chosen."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from artfp.passive.fitting.select import METHODS

    title = "held out images" + (" and recompressed copies" if found.recompressed else "")
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for head in ("way", "", "accuracy", "largest score", "log loss"):
        table.add_column(head, justify="left" if head in ("way", "") else "right")
    for trial in found.ways:
        largest = "" if trial.largest is None else f"{trial.largest:.2%}"
        cells = (f"{trial.accuracy:.2%}", largest, f"{trial.log_loss:.4f}")
        table.add_row(trial.what, METHODS[trial.what], *cells)
    console().print(table)
    if found.recompressed:
        console().print(
            f"{found.chosen}: the likeliest is right for {found.validation.accuracy:.2%} of the "
            f"images as they are, {found.recompressed.accuracy:.2%} of the copies"
        )
    for way, trials in found.extractors.items():
        many = f", the best of {len(trials)}" if len(trials) > 1 else ""
        console().print(f"{way}: {trials[0].what}{many}", markup=False)
