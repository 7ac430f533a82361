"""`artfp power`: how many images a verdict takes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from artfp.core.console import console, prepare_terminal
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Say how many images of one source it takes to find a fingerprint in them, for bits that are read at
some accuracy and a test at some level: what detect --same_source needs, before images are gathered.

A level is the probability of a match by chance, over all fingerprints compared: with --registered N
each is tested at level / N, as detect --registry does. Power is the probability that a fingerprint
that is there is found. artfp measure and artfp detect tell the accuracy of the bits."""

EPILOG = """\
examples:
  artfp power
  artfp power --bits 64 --registered 1000 --method majority
  artfp power --accuracies 0.52,0.55,0.6 --levels 1e-4,1e-6 --csv power.csv --plot power.png

The numbers are a best case: they take the bits to err independently from image to image. Bits that
are wrong in all images of a source are mended by no number of them; for those count the bits alone.

methods: soft weighs the decoder's logits, as detect --same_source does (a Gaussian model, good to
.03 from 32 bits); majority counts the bits of the majority of the images (exact).

exit codes: 0 done, 2 bad input"""

_STDOUT = "-"


def _parser() -> Any:
    parser = make_parser("artfp power", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--bits", type=int, default=100, help="Bits of the fingerprint, 8 to 256.")
    add(
        "--accuracies",
        default="0.51,0.52,0.55,0.6,0.65,0.7,0.75,0.8,0.9,0.99",
        metavar="A,...",
        help="Bit accuracies, above 0.5 and at most 1: the rows.",
    )
    add("--levels", default="1e-3,1e-6,1e-9", metavar="L,...", help="Levels: the columns.")
    add(
        "--registered",
        type=int,
        default=1,
        metavar="N",
        help="Also show what it takes among N registered fingerprints.",
    )
    add("--power", type=float, default=0.9, help="Probability to find a fingerprint that is there.")
    add("--method", type=Literal["soft", "majority"], default="soft", help="How bits are weighed.")
    add(
        "--json",
        type=str | None,
        default=None,
        metavar="FILE",
        help='Write the table as JSON; "-" for standard output, the rest then goes to stderr.',
    )
    add("--csv", type=str | None, default=None, metavar="FILE", help="The same as CSV; also -.")
    add(
        "--plot",
        type=str | None,
        default=None,
        metavar="FILE.png",
        help="Draw power against images and images against accuracy.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    _check(args)

    from rich.console import Console

    from artfp.audit.power_report import (
        MODEL,
        PowerQuestion,
        images_needed,
        needs_csv,
        needs_json,
        needs_table,
        plot_power,
    )
    from artfp.data.files import write_atomic

    question = PowerQuestion(
        bits=args.bits,
        accuracies=_numbers(args.accuracies, "accuracies", 0.5, 1.0),
        levels=_numbers(args.levels, "levels", 0.0, 1.0),
        registered=args.registered,
        power=args.power,
        method=args.method,
    )
    found = images_needed(question)
    files: list[tuple[str | None, str | bytes]] = [
        (args.json, json.dumps(needs_json(question, found), indent=1) + "\n"),
        (args.csv, needs_csv(found)),
        (args.plot, plot_power(question) if args.plot is not None else b""),
    ]
    piped = _STDOUT in (args.json, args.csv)
    out = sys.stderr if piped else sys.stdout
    shown = Console(file=out, width=console().width, highlight=False)
    about = f"{args.bits} bits, {args.method}"
    shown.print(f"images of one source for a power of {args.power:g}, {about}:", soft_wrap=True)
    shown.print(needs_table(question, found))
    shown.print(MODEL, soft_wrap=True)
    if any(need.images is None for need in found):
        shown.print(f"-: no number of images suffices with {args.bits} bits.", soft_wrap=True)
    for path, content in files:
        if path == _STDOUT:
            print(content, end="")
        elif path is not None:
            write_atomic(Path(path), content)
            shown.print(f"wrote {one_line(path)}", soft_wrap=True, markup=False)
    return 0


def _check(args: Any) -> None:
    """Refuse numbers out of range, and two things on one output."""
    from artfp.ownership.key import check_bits

    check_bits(args.bits)
    if args.registered < 1:
        raise UserError(f"--registered: found {args.registered}, expected 1 or more")
    if not 0.0 < args.power < 1.0:
        raise UserError(f"--power: found {args.power:g}, expected a number above 0 and below 1")
    if args.json == args.csv == _STDOUT:
        raise UserError("--json and --csv: only one of them can go to standard output")
    if args.plot == _STDOUT:
        raise UserError("--plot: give a file")


def _numbers(text: str, option: str, above: float, most: float) -> tuple[float, ...]:
    """The numbers of `A,...`, each once, as they stand; at least one."""
    numbers: dict[float, None] = {}
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = math.nan
        if not above < number <= most:
            raise UserError(
                f"--{option}: found {part!r}, expected numbers above {above:g} and at most "
                f"{most:g}, separated by commas"
            )
        numbers[number] = None
    return tuple(numbers)
