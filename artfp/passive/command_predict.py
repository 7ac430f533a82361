"""`artfp attribute predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.progress import stages

DESCRIPTION = """\
Attribute images to the sources of an attributor. IMAGES is a folder, a zip, an image, or a list of
paths (.txt).

For each image: its likeliest source; the natural logarithm of the likelihood ratio of that source
against the mean of the others, as far as the held out images can show it; the posterior
probability, were one of the known sources the true one and all as likely; and a p-value, the share
of that source's own images that fit it as badly. The verdict is "none of these" where the p-value
is at most the attributor's alpha, else the source where the posterior is at least its confidence,
else "undecided".

With --same_source all images are the work of one suspect, and are judged together as well."""

EPILOG = """\
examples:
  artfp attribute predict suspects/
  artfp attribute predict suspects.zip --attributor runs/dumps --same_source
  artfp attribute predict fake.png --json -

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""

_STDOUT = "-"


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("images", type=str, help="The images.")
    add("--attributor", default="attributor", metavar="FOLDER",
        help="What artfp attribute fit wrote.")  # fmt: skip
    add("--same_source", action="store_true", help="Judge all images together as well.")
    add(
        "--json",
        type=str | None,
        default=None,
        metavar="FILE",
        help='Write all as JSON; "-" for standard output, the rest then goes to stderr.',
    )
    add("--csv", type=str | None, default=None, metavar="FILE", help="The images as CSV; also -.")
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    if args.json == args.csv == _STDOUT:
        raise UserError("--json and --csv: only one of them can go to standard output")

    from rich.console import Console

    from artfp.data.files import write_atomic
    from artfp.data.sources import open_source
    from artfp.passive import prediction_table as report
    from artfp.passive.attributors.bundle import load_attributor
    from artfp.passive.predict import attribute_group, attribute_images

    attributor = load_attributor(args.attributor)
    source = open_source(args.images)
    with stages() as tick:
        found = attribute_images(
            attributor, source, torch_device(args), lambda count: tick("attributing", count)
        )
    group = attribute_group(attributor, found.vectors) if args.same_source else None
    about = {
        "images_of": Path(args.images).name,
        "attributor": attributor.name,
        "sources": list(attributor.sources),
        "policy": attributor.policy.describe(),
        "alpha": attributor.rule.alpha,
        "confidence": attributor.rule.confidence,
    }
    out = sys.stderr if _STDOUT in (args.json, args.csv) else sys.stdout
    shown = Console(file=out, width=console().width, highlight=False, soft_wrap=True)
    shown.print(report.predictions_table(found))
    if len(found.names) > report.SHOWN:
        shown.print(f"... and {len(found.names) - report.SHOWN} more (--csv has all)")
    votes = ", ".join(f"{one_line(v)} {n}" for v, n in report.count_verdicts(found).items())
    shown.print(f"{count_images(len(found.names))}: {votes}", markup=False)
    if group is not None:
        shown.print(one_line(report.describe_group(group, attributor.rule)), markup=False)
    content = {
        args.json: lambda: (
            json.dumps(report.predictions_json(found, group, about), indent=1) + "\n"
        ),
        args.csv: lambda: report.predictions_csv(found),
    }
    for path, make in content.items():
        if path == _STDOUT:
            print(make(), end="")
        elif path is not None:
            write_atomic(Path(path), make())
            shown.print(f"wrote {one_line(path)}", markup=False)
    return report_unusable(found.failed)
