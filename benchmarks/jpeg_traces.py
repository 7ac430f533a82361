"""How often JPEG is seen in pixels: images as they are, and after JPEG of known quality.

    python benchmarks/jpeg_traces.py --data_dir SOURCES --output benchmarks/results/jpeg_traces.json

SOURCES has one subfolder of images for each source; of each the first --images by name are looked
at. A share is of images in which artfp.passive.fitting.jpeg_traces
sees JPEG, with its Wilson interval (95%):
of generated images as they are it is the share of false alarms, after JPEG that of finds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
import torch
from rich.table import Table

from artfp.core.command import run
from artfp.core.console import console
from artfp.data.decode import decode_image
from artfp.data.sources import (
    open_sources,
)
from artfp.data.tables import round_significant
from artfp.passive.fitting.image_set import recompress_pixels
from artfp.passive.fitting.jpeg_traces import was_jpeg
from artfp.robustness.figures import wilson

AS_THEY_ARE = "as they are"


def main(argv: Sequence[str] | None = None) -> int:
    """Look at every image, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="a subfolder of images for each source")
    parser.add_argument("--images", type=int, default=1000, help="of each source, at most")
    parser.add_argument(
        "--jpeg", type=int, nargs="+", default=[97, 95, 92, 90, 85, 75, 50, 30], help="qualities"
    )
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for name, source in open_sources(Path(args.data_dir)).items():
        hits = dict.fromkeys([AS_THEY_ARE, *(f"JPEG {quality}" for quality in args.jpeg)], 0)
        count = min(args.images, len(source))
        for index in range(count):
            pixels = decode_image(source.read(index)).pixels
            hits[AS_THEY_ARE] += was_jpeg(pixels)
            for quality in args.jpeg:
                hits[f"JPEG {quality}"] += was_jpeg(recompress_pixels(pixels, quality))
        rows.append({"source": name, "images": count, "shares": _shares(hits, count)})
    _print(rows)
    if args.output:
        report.write(args.output, sources=round_significant(rows))
    return 0


def _shares(hits: dict[str, int], count: int) -> dict[str, dict[str, float]]:
    found = {}
    for name, seen in hits.items():
        low, high = wilson(seen, count)
        found[name] = {"share": seen / count, "low": low, "high": high}
    return found


def _print(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]["shares"])
    table = Table("source", "images", *names, title="share of images in which JPEG is seen")
    for row in rows:
        shares = (f"{row['shares'][name]['share']:.3f}" for name in names)
        table.add_row(row["source"], str(row["images"]), *shares)
    console().print(table)


if __name__ == "__main__":
    sys.exit(run(main))
