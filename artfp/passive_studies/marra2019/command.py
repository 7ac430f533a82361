"""`artfp attribute study`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Analyse the fingerprints of sources as Marra et al. 2019 do: FOLDER has one subfolder of images for
each source, all images of one size. Part of the images estimate the fingerprints (mean residuals),
the others are tests; each is read once.

analyses (default: all that the sources allow), each a picture, a table and a section:
  fingerprints     amplified, by the number of images
  energy           of the mean of N residuals, with the fits Einf + E0 2^-N and Einf + E0 / N
  autocorrelation  of the fingerprints
  histograms       correlations with the own and with other fingerprints; AUC of all pairs
  matrix           mean correlation of each source's images with each fingerprint
  jpeg             accuracy of attribution after JPEG (--jpeg)
  number           accuracy against the number of images that estimate a fingerprint
  size             accuracy against the size of images
  real             real against generated images (--real)
  dependence       correlations by what sources differ in: seed, training set, ... (--groups)"""

EPILOG = """\
examples:
  artfp attribute study sources/ --output_dir study/
  artfp attribute study sources/ --output_dir study/ --analyses energy,matrix --images 256
  artfp attribute study sources/ --output_dir study/ --real photos --groups groups.json

groups.json has the facts of each source that takes part:
  {"dcgan_a": {"architecture": "dcgan", "data": "cifar", "seed": "0"},
   "dcgan_b": {"architecture": "dcgan", "data": "cifar", "seed": "1"}, ...}
or one group each: {"dcgan_a": "dcgan", ...}. Without it the part of a name before the first dot is
the group, as in dcgan.seed1.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--output_dir", required=True, help="Folder for page, pictures, tables and fingerprints.")
    add("--extractor", type=str, default="wavelet", metavar="NAME[:SETTING=VALUE,...]",
        help="What makes residuals, such as wavelet or gaussian:sigma=0.5.")  # fmt: skip
    add("--images", type=int | None, default=None,
        help="Images that estimate each fingerprint; default: 512 where all sources have 1000, "
        "else half of the smallest source.")  # fmt: skip
    add("--test_images", type=int | None, default=None,
        help="Test images of each source; default: what the smallest source has left.")  # fmt: skip
    add("--analyses", type=str | None, default=None, metavar="NAME,...",
        help="Which of those above.")  # fmt: skip
    add("--jpeg", type=str, default="95", metavar="QUALITY,...", help="Qualities, 1 to 100.")
    add("--real", type=str | None, default=None, metavar="NAME,...",
        help='Sources of real images; default: those whose names begin with "real".')  # fmt: skip
    add("--groups", type=str | None, default=None, metavar="FILE.json",
        help="Facts on the sources, as below.")  # fmt: skip
    add("--seed", type=int, default=0, help="Draws, with the files' names, what estimates.")
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.passive_studies.marra2019.study import Study, run

    study = Study(
        Path(args.folder),
        Path(args.output_dir),
        args.extractor,
        args.images,
        args.test_images,
        _listed(args.analyses),
        _qualities(args.jpeg),
        _listed(args.real),
        None if args.groups is None else Path(args.groups),
        args.seed,
        torch_device(args),
    )
    done = run(study)
    for name, part in done.parts.items():
        console().print(f"{name}: {part.text}", markup=False)
    for name, reason in done.left_out.items():
        console().print(f"{name}: left out, {reason}", markup=False)
    console().print(f"page, pictures and tables in {study.output}", markup=False, soft_wrap=True)
    return report_unusable(done.failed)


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(p.strip() for p in text.split(",") if p.strip())


def _qualities(text: str) -> tuple[int, ...]:
    found = _listed(text) or ()
    for part in found:
        if not part.isdecimal() or not 1 <= int(part) <= 100:
            raise UserError(f"--jpeg: found {part!r}, expected qualities from 1 to 100")
    if not found:
        raise UserError("--jpeg: found no quality")
    return tuple(dict.fromkeys(map(int, found)))
