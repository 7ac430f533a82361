"""`artfp robustness`: any watermarks under any perturbations, in one table and one plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.common import add_fingerprint_options
from artfp.core.console import console, prepare_terminal
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser
from artfp.core.progress import stages
from artfp.robustness.robustness_labelled import (
    add_attributor_options,
    attributed,
    check_attributor_options,
)

DESCRIPTION = """\
Compare watermarks under perturbations of growing strength.

Every method marks the same originals, each image with a random word of its own, and reads them
again after every perturbation at every strength (real codecs, 8-bit pixels). All methods meet the
same draws. Told are the bit accuracy, the share of images whose own word fits best of all words,
and the share that a test with false positive rate --fpr finds (TPR): exact for each method's number
of bits, so that 32 and 100 bits can be compared.

Methods: shipped weights (photo128, cifar32, transfer32), an encoder's file with its decoder beside
it, and with pip install -e '.[peers]' dwtDct, dwtDctSvd, rivaGan (32 bits, from 256x256 pixels) and
blind-watermark (64 bits). NAME:plain takes a decoder without its search for crops and turns;
LABEL=NAME renames.

Perturbations: jpeg, webp, resize, blur, noise, quantise, lowpass, residual, mirror, centre_crop,
random_crop, rotation, erase, brightness, contrast, gamma, saturation, hue, relight, screenshot,
combination.

With --marked_dir nothing is embedded: the images there, such as the output of a generator that was
trained on fingerprinted images, carry one known fingerprint and are only read.

With --attributor images are not read but attributed to their sources by what artfp attribute fit
has learned: told is the share whose source is found. It stands alone or in one table with the rest.
"""

EPILOG = """\
examples:
  artfp robustness --data_dir photos/ --image_resolution 256 --limit 100 --output_dir robust \\
      --methods photo128,dwtDct,dwtDctSvd,rivaGan,blind-watermark
  artfp robustness --data_dir photos/ --output_dir jpeg --methods photo128,mine=run/encoder.safetensors \\
      --perturbations jpeg,noise --strengths "jpeg=90,70,50,30;noise=0.02,0.05"
  artfp robustness --marked_dir generated/ --decoder_path photo128 --key owner.key.json \\
      --output_dir robust_gan
  artfp robustness --attributor runs/dumps --labelled_dir labelled/ --output_dir robust_passive

writes into --output_dir:
  robustness.csv, robustness.json  a row for each method, perturbation and strength
  working_range.md                 the harshest strengths up to which each method works
  bit_accuracy.png, tpr.png        a panel for each perturbation, a line for each method
  source_accuracy.png              the same of attributors
  examples/                        what each perturbation does to one image

A run that was stopped goes on where it stopped when the same command is given again.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""  # noqa: E501


def _parser() -> Any:
    parser = make_parser("artfp robustness", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add(
        "--data_dir",
        type=str | None,
        default=None,
        help="Original images: folder, zip, image or list. With --marked_dir optional: images "
        "without the fingerprint, to count false positives on.",
    )
    add("--output_dir", required=True, help="Folder for the results.")
    add(
        "--methods",
        type=str | None,
        default=None,
        metavar="NAME,...",
        help="What to compare, separated by commas; default: photo128.",
    )
    add("--marked_dir", type=str | None, default=None, help="Images that carry the fingerprint.")
    add(
        "--decoder_path",
        type=str | None,
        default=None,
        help="With --marked_dir: the decoder; default: photo128.",
    )
    add_fingerprint_options(parser, "With --marked_dir: ")
    add_attributor_options(parser)
    add("--perturbations", default="all", metavar="NAME,...", help="Which of those above.")
    add(
        "--strengths",
        type=str | None,
        default=None,
        metavar="NAME=S,...;...",
        help="Strengths in place of the usual ones, such as 'jpeg=90,50;noise=0.02'.",
    )
    add("--image_resolution", type=int | None, default=None,
        help="Cut the centre square of each image and resize it to this side first.")  # fmt: skip
    add("--validation_only", action="store_true",
        help="Only the images that train.py sets aside from this data (by name).")  # fmt: skip
    add("--limit", type=int | None, default=None, help="At most so many images.")
    add("--strength", type=float, default=1.0,
        help="Factor on the residual of artfp's encoders; peers have none.")  # fmt: skip
    add("--fpr", type=float, default=1e-6, help="False positive rate of the test.")
    add("--batch_size", type=int, default=32, help="Images of one size at once.")
    add("--seed", type=int, default=0, help="Of the words and of the perturbations' draws.")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    _check(args)

    from artfp.robustness.report import Report, write_report
    from artfp.robustness.study import Options, option_settings, run_study
    from artfp.robustness.sweep import work

    conditions = _conditions(args)
    output = Path(args.output_dir)
    study, failed = _study(args)
    options = Options(conditions, args.fpr, args.seed, args.batch_size, output)
    with stages(work(study.sets, conditions)) as tick:
        found = run_study(study, options, tick)
    settings = {**study.open_settings(), **option_settings(options)}
    report = Report(found, conditions, settings, failed)
    example = next(study.sets[0].samples()).pixels
    files = write_report(report, output, example, args.seed)
    _print(report)
    shown = [name for name in files if "/" not in name]
    print(f"wrote {', '.join(shown)} and {len(files) - len(shown)} examples into {output}")
    return report_unusable(failed)


def _check(args: Any) -> None:
    """Refuse numbers out of range and options that do not go together."""
    for name in ("limit", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: found {value}, expected 1 or more")
    if not 0.0 < args.fpr < 1.0:
        raise UserError(f"--fpr: found {args.fpr:g}, expected a number above 0 and below 1")
    check_attributor_options(args)
    if not 0.0 < args.strength < math.inf:
        raise UserError(f"--strength: found {args.strength:g}, expected a number above 0")
    if args.marked_dir is None:
        for name in ("decoder_path", "fingerprint", "key", "owner", "subject"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name} belongs to --marked_dir, which is not given")
        if args.data_dir is None and args.methods is not None:
            raise UserError("--methods needs --data_dir, originals to mark")
        if args.data_dir is None and args.attributor is None:
            raise UserError("missing --data_dir (originals to mark), --marked_dir or --attributor")
    elif args.methods is not None:
        raise UserError("--methods mark originals and --marked_dir is marked; give one of them")
    elif args.fingerprint is None and args.key is None:
        raise UserError("--marked_dir needs --key or --fingerprint, what the images carry")


def _conditions(args: Any) -> Any:
    """The conditions that a command line asks for."""
    from artfp.perturbations.conditions import choose, parse_strengths

    names = None if args.perturbations.strip() == "all" else _listed(args.perturbations)
    if names is not None and not names:
        raise UserError("--perturbations: found no name")
    try:
        strengths = {} if args.strengths is None else parse_strengths(args.strengths)
    except UserError as error:
        raise UserError(f"--strengths: {error}") from error
    return choose(names, strengths)


def _study(args: Any) -> tuple[Any, list[tuple[str, str]]]:
    """All that is to be swept; and the images that cannot be used."""
    from artfp.robustness.evaluation_robustness_labelled import joined

    found = []
    if args.marked_dir is not None:
        found.append(_read_only(args))
    elif args.data_dir is not None:
        found.append(_compared(args))
    if args.attributor is not None:
        found.append(
            attributed(args, lambda source, refuses, what: _taken(source, args, refuses, what))
        )
    return joined([study for study, _ in found]), [each for _, failed in found for each in failed]


def _compared(args: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Originals that every method marks; and the images that cannot be used."""
    from artfp.robustness import load_method
    from artfp.robustness.study import least_of, marked_by

    names = _listed(args.methods if args.methods is not None else "photo128")
    if not names:
        raise UserError("--methods: found no name")
    methods = [load_method(name, args.strength) for name in names]
    originals = _images(args.data_dir, args, least_of(methods), "reading originals")
    return marked_by(methods, originals, args.seed), list(originals.failed.items())


def _read_only(args: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Images that are marked, and perhaps others; and those that cannot be used."""
    from artfp.ownership.assignment import given_fingerprints
    from artfp.robustness.methods import load_reader
    from artfp.robustness.study import already_marked

    reader = load_reader(args.decoder_path or "photo128")
    words = given_fingerprints(reader.bits, args.fingerprint, args.key, args.owner, args.subject)
    assert words is not None
    marked = _images(args.marked_dir, args, None, "reading marked images")
    unmarked = None
    if args.data_dir is not None:
        unmarked = _images(args.data_dir, args, None, "reading unmarked images")
    study = already_marked(reader, words.of_image(""), words.identity(), marked, unmarked)
    failed = [*marked.failed.items(), *(unmarked.failed.items() if unmarked else ())]
    return study, failed


def _images(place: str, args: Any, refuses: Any, what: str) -> Any:
    """The images of a place that the options choose."""
    from artfp.data.sources import open_source

    return _taken(open_source(place), args, refuses, what)


def _taken(source: Any, args: Any, refuses: Any, what: str) -> Any:
    """The images of a source that the options choose."""
    from artfp.data.geometry import Geometry
    from artfp.data.train_module import split_names
    from artfp.robustness.study import Images

    indices = split_names(source.names)[1] if args.validation_only else list(range(len(source)))
    indices = indices[: args.limit]
    more = {} if refuses is None else {"refuses": refuses}
    geometry = Geometry(args.image_resolution)
    return Images(source, indices, geometry, Path(args.output_dir), caption=what, **more)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _print(report: Any) -> None:
    """Fidelity, and a row for each condition with a column for each contestant."""
    from artfp.data.tables import Column, rich_table
    from artfp.robustness.report import cell

    contestants = report.contestants()
    rows = {(r.contestant, r.perturbation, r.strength): r for r in report.sweep.rows}
    for name, fidelity in report.sweep.fidelity.items():
        print(
            f"{name}: PSNR {fidelity.psnr:.2f} dB, SSIM {fidelity.ssim:.4f} "
            f"on {count_images(fidelity.images)}"
        )
    for name, contestant in {row.contestant: row for row in report.sweep.rows}.items():
        if contestant.negatives:
            shares = [r.false_positives for r in report.sweep.rows if r.contestant == name]
            what = "without the fingerprint" if contestant.bits else "of no known source"
            print(
                f"{name}: {count_images(contestant.negatives)} {what}, of which at most "
                f"{max(shares):.2%} passed the test under any condition"
            )
    kinds = {row.bits is None: None for row in report.sweep.rows}
    figure = " or ".join("accuracy of the source" if kind else "bit accuracy" for kind in kinds)
    title = f"{figure} / TPR at a false positive rate of {report.sweep.rows[0].fpr:g}"
    heads = ("\n".join([each.name, *each.facts()]) for each in contestants)
    columns = [Column("perturbation\n@strength", wrap="no")]
    columns += [Column(head, wrap="fold") for head in heads]
    cells = [
        [each.name, *(cell(rows[c.name, each.group, each.strength]) for c in contestants)]
        for each in report.conditions
    ]
    console().print(rich_table(cells, columns, title))
