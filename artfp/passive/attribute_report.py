"""`artfp attribute report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.progress import stages

DESCRIPTION = """\
Measure an attributor on labelled images. FOLDER has one subfolder for each source. Those that have
the name of a source of the attributor are its images: how often that is the likeliest one, how
often a verdict names it or another, and AUCs of every pair and of each source against all other
images. Other subfolders hold what the attributor does not know, such as real images or another
generator's: how often they are called "none of these".

Images that the attributor was fitted to flatter it: give others, best without content that the
fitted ones had."""

EPILOG = """\
examples:
  artfp attribute report labelled/
  artfp attribute report labelled/ --attributor runs/dumps --output_dir runs/dumps_report

writes into --output_dir: report.md, report.json, confusion.png, roc.png

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--attributor", default="attributor", metavar="FOLDER",
        help="What artfp attribute fit wrote.")  # fmt: skip
    add("--output_dir", default="attribution_report", help="Folder for the results.")
    add("--limit", type=int | None, default=None, help="At most so many images of each subfolder.")
    add("--seed", type=int, default=0, help="Deals images into groups.")
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit: found {args.limit}, expected 1 or more")

    from artfp.data.files import write_atomic
    from artfp.data.sources import (
        open_sources,
    )
    from artfp.data.subset import limit_images
    from artfp.passive import report
    from artfp.passive.assess import assess
    from artfp.passive.attributors.bundle import load_attributor
    from artfp.passive.predict import attribute_images

    attributor = load_attributor(args.attributor)
    sources, device = open_sources(Path(args.folder)), torch_device(args)
    if not set(sources) & set(attributor.sources):
        raise UserError(
            f"{args.folder}: no subfolder has the name of a source; the attributor knows "
            f"{', '.join(attributor.sources)}"
        )
    found = {}
    with stages() as tick:
        for name, source in sources.items():
            chosen = limit_images(source, args.limit)
            found[name] = attribute_images(
                attributor, chosen, device, lambda count: tick("attributing", count)
            )
    assessment = assess(attributor, found, args.seed)
    about = {
        "images_of": Path(args.folder).name,
        "attributor": attributor.name,
        "way": attributor.metadata.get("way", "attributor"),
        "policy": attributor.policy.describe(),
        "alpha": attributor.rule.alpha,
        "confidence": attributor.rule.confidence,
        "seed": args.seed,
    }
    output = Path(args.output_dir)
    files: dict[str, str | bytes] = {
        "report.md": report.assessment_page(assessment, about),
        "report.json": json.dumps(report.assessment_json(assessment, about), indent=1) + "\n",
        report.CONFUSION: report.plot_confusion(assessment),
    }
    if assessment.curves:
        files[report.ROC] = report.plot_roc(assessment)
    for name, content in files.items():
        write_atomic(output / name, content)
    console().print(report.assessment_table(assessment))
    print(f"accuracy of the likeliest source: {assessment.mean_accuracy:.2%}")
    print(f"wrote {', '.join(files)} into {one_line(str(output))}")
    failed = [
        (f"{name}/{image}", why) for name, each in found.items() for image, why in each.failed
    ]
    return report_unusable(failed)
