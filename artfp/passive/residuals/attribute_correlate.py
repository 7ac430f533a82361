"""`artfp attribute correlate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser
from artfp.core.progress import Progress

DESCRIPTION = """\
Correlate the noise residuals of images with fingerprints of sources: a line of CSV for each image,
with a column for each source and the one that scores highest. These are bare scores; for verdicts
with error rates fit an attributor (artfp attribute fit).

Extras of camera forensics, each off by default, as measured for cameras and for generators in the
README: what helps with cameras can harm with generators, whose fingerprints are periodic."""

EPILOG = """\
examples:
  artfp attribute correlate photos/ --fingerprints nikon.safetensors,canon.safetensors
  artfp attribute correlate photos/ --fingerprints nikon.safetensors,canon.safetensors \\
      --zero_mean --less_common --output scores.csv

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""

_EXTRAS = {
    "grey": "Compare luminance alone.",
    "zero_mean": "Take means of rows and columns off each parity.",
    "wiener": "Take peaks of the spectrum away (DFT-Wiener).",
    "maximum_likelihood": "Weight residuals by their images; takes fingerprints with --weighted.",
    "less_common": "Take the mean of the fingerprints off each.",
    "pce": "Peak-to-correlation energy instead of correlation, at no shift.",
}


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("images", type=str, help="Image, folder, zip or list.")
    add("--fingerprints", required=True, metavar="FILE,...",
        help="Of artfp attribute fingerprint or study, of one size and extractor.")  # fmt: skip
    for name, about in _EXTRAS.items():
        add(f"--{name}", action="store_true", help=about)
    add("--output", type=str | None, default=None, metavar="FILE",
        help="CSV file; default: standard output.")  # fmt: skip
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.data.files import write_atomic
    from artfp.data.pixels import as_batch
    from artfp.data.reading import UpperLeft, read_images
    from artfp.data.sources import open_source
    from artfp.data.tables import csv_line
    from artfp.passive.residuals.extractor import load_extractor
    from artfp.passive.residuals.prnu import PrnuOptions
    from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint

    places = [part.strip() for part in args.fingerprints.split(",") if part.strip()]
    known = [ResidualFingerprint.load(place) for place in places]
    names = [each.source for each in known]
    if len(set(names)) < len(names):
        raise UserError(f"--fingerprints: sources {', '.join(names)}; each takes its own name")
    extras = PrnuOptions(**{name: getattr(args, name) for name in _EXTRAS})
    if extras.less_common and len(known) < 2:
        raise UserError("--less_common takes two fingerprints or more")
    device = torch_device(args)
    references = extras.references(known).to(device)
    extractor, source = load_extractor(known[0].extractor), open_source(args.images)
    failed: list[tuple[str, str]] = []
    lines = [csv_line(["image", "highest", *names])]
    cut = UpperLeft(known[0].shape[1:])
    with Progress("Correlating", len(source)) as progress:
        for image in read_images(source, failed, prepare=cut, progress=progress):
            scores = extras.scores(extractor(as_batch(image.pixels).to(device)), references)[0]
            best = names[int(scores.argmax())]
            lines.append(csv_line([image.name, best, *(f"{each:.6g}" for each in scores.tolist())]))
    if len(lines) == 1:
        raise UserError(f"{args.images}: no image can be used; the first: {failed[0][1]}")
    if args.output is None:
        sys.stdout.write("".join(lines))
    else:
        write_atomic(Path(args.output), "".join(lines))
    return report_unusable(failed)
