"""Does localisation find what was pasted into an image? Splices made here, truth in every pixel.

    python benchmarks/splices.py --data_dir cameras512/natural --estimate_dir cameras512/flat
    python benchmarks/splices.py --data_dir sources --windows 6 8 12 16 --extractor wavelet:sigma=3

A source is a subfolder, or what stands before the last _ in names of files. Each image takes
`--splices` regions, rectangles and ellipses of 5 to 25% of it, from other sources' images, at any
place there. The fingerprint is the host's source's: from --estimate_dir, or from the first
--estimate images, which then take no part. As a control, the same with a fingerprint that is neither
host's nor donor's: what it finds is texture and edges.

Images are cut in two halves, donors with them. The threshold of one half is the one of largest F1 on
the other. AUC and F1 are over all pixels of all splices together (every --step'th row and column);
`mean AUC` is over splices. `everything` is the F1 of calling all pixels spliced.
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from rich.table import Table
from torch import Tensor

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.decode import decode_image
from artfp.data.pixels import as_batch
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import Subset
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.estimate import estimate_fingerprint
from artfp.passive_studies.localisation.report import plot_windows
from artfp.passive_studies.localisation.windows import (
    SpliceDetection,
    best_threshold,
    correlate_windows,
    evaluate_detection,
    window_to_pixel_map,
)
from artfp.stats.intervals import auc

LEAST, MOST = 0.05, 0.25
"""Share of an image that a splice covers."""
OWN, OTHER = "own fingerprint", "another's (control)"


@dataclass(frozen=True)
class Splice:
    """An image with a region from another source; `truth` (H, W) is True there."""

    host: str
    donor: str
    half: int
    x: Tensor
    truth: np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """Estimate, paste, measure, print the table, write JSON and plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data_dir", required=True, help="images that take splices and give them")
    add("--estimate_dir", help="images that estimate the fingerprints")
    add("--donors", nargs="+", default=[], help="sources without a fingerprint: they only give")
    add("--estimate", type=int, default=500, help="without it: so many images of each source do")
    add("--extractor", default="wavelet:sigma=5")
    add("--images", type=int, default=25, help="images of each source that take splices, at most")
    add("--splices", type=int, default=4, help="of each image")
    add("--windows", type=int, nargs="+", default=[32, 64, 96, 128, 160])
    add("--step", type=int, default=4)
    add("--seed", type=int, default=0)
    add("--output", help="file for the figures, JSON")
    add("--plot", help="file for the plot, PNG")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    suspects = _by_source(open_source(args.data_dir))
    if args.estimate_dir:
        references = _by_source(open_source(args.estimate_dir))
    else:
        references = {name: _part(source, 0, args.estimate) for name, source in suspects.items()}
        suspects = {name: _part(source, args.estimate) for name, source in suspects.items()}
    extractor = load_extractor(args.extractor)
    prints = {
        name: estimate_fingerprint(s, extractor, name)[0].mean for name, s in references.items()
    }
    if len(set(prints) - set(args.donors)) < 3:
        raise UserError(f"{args.data_dir}: it takes three sources with a fingerprint or more")
    if missing := sorted(set(suspects) - set(prints)):
        raise UserError(f"{args.estimate_dir}: no images of {', '.join(missing)}")
    splices = _splices(suspects, args)
    names = sorted(prints)
    rng = np.random.default_rng(args.seed)
    scores: dict[tuple[str, int], list[np.ndarray]] = {}
    for splice in splices:
        others = [name for name in names if name not in (splice.host, splice.donor, *args.donors)]
        pair = torch.stack([prints[splice.host], prints[str(rng.choice(others))]])
        residual = extractor(splice.x)
        for window in args.windows:
            maps = window_to_pixel_map(correlate_windows(residual, pair, window), window)
            for key, one in zip((OWN, OTHER), maps[0].numpy(), strict=True):
                scores.setdefault((key, window), []).append(-one[:: args.step, :: args.step])
    truths = [splice.truth[:: args.step, :: args.step] for splice in splices]
    halves = [splice.half for splice in splices]
    rows = [
        {"fingerprint": key, "window": window, **_figures(found, truths, halves)}
        for (key, window), found in scores.items()
    ]
    share = float(np.mean([truth.mean() for truth in truths]))
    everything = 2.0 * share / (1.0 + share)
    _show(rows, everything)
    if args.plot:
        Path(args.plot).write_bytes(plot_windows(_by_line(rows), everything))
    if args.output:
        report.write(
            args.output,
            extractor=extractor.text,
            sources=names,
            splices=len(splices),
            spliced_share=share,
            everything=everything,
            rows=rows,
        )
    return 0


def _by_source(source: ImageSource) -> dict[str, ImageSource]:
    """The images by subfolder, or by what stands before the last _ of their names."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(source.names):
        folder, slash, _ = name.partition("/")
        found.setdefault(folder if slash else name.rpartition("_")[0], []).append(index)
    return {name: Subset(source, indices) for name, indices in found.items()}


def _part(source: ImageSource, first: int, last: int | None = None) -> ImageSource:
    return Subset(source, list(range(len(source)))[first:last])


def _splices(suspects: dict[str, ImageSource], args: argparse.Namespace) -> list[Splice]:
    """Splices of all images, in two halves that share no image."""
    rng = np.random.default_rng(args.seed)
    halves: list[list[tuple[str, Tensor]]] = [[], []]
    number = 0
    for name, source in suspects.items():
        for index in range(min(len(source), args.images)):
            halves[number % 2].append((name, as_batch(decode_image(source.read(index)).pixels)))
            number += 1
    found = []
    for half, images in enumerate(halves):
        for host, x in images:
            if host in args.donors:
                continue
            donors = [each for each in images if each[0] != host]
            for _ in range(args.splices):
                donor, other = donors[rng.integers(len(donors))]
                spliced, truth = _spliced(x, other, rng)
                found.append(Splice(host, donor, half, spliced, truth))
    return found


def _spliced(x: Tensor, donor: Tensor, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """x with a region of the donor, both (1, 3, H, W), and where it is."""
    height, width = x.shape[2:]
    area, aspect = rng.uniform(LEAST, MOST) * height * width, np.exp(rng.uniform(-0.5, 0.5))
    ellipse = rng.random() < 0.5
    area *= 4.0 / np.pi if ellipse else 1.0
    rows = int(np.clip(round(np.sqrt(area * aspect)), 2, height))
    columns = int(np.clip(round(np.sqrt(area / aspect)), 2, width))
    region = np.ones((rows, columns), bool)
    if ellipse:
        down, across = (np.linspace(-1, 1, side) for side in (rows, columns))
        region = down[:, None] ** 2 + across**2 <= 1.0
    (top, left), (of_top, of_left) = (
        (rng.integers(height - rows + 1), rng.integers(width - columns + 1)) for _ in range(2)
    )
    out, truth = x.clone(), np.zeros((height, width), bool)
    truth[top : top + rows, left : left + columns] = region
    inside = torch.from_numpy(region)
    place = out[..., top : top + rows, left : left + columns]
    taken = donor[..., of_top : of_top + rows, of_left : of_left + columns]
    place.copy_(torch.where(inside, taken, place))
    return out, truth


def _figures(
    scores: list[np.ndarray], truths: list[np.ndarray], halves: list[int]
) -> dict[str, Any]:
    """SpliceDetection of all splices, each half at the other's threshold."""
    parts = []
    for half in (0, 1):
        chosen = [i for i, each in enumerate(halves) if each == half]
        parts.append([np.concatenate([x[i].ravel() for i in chosen]) for x in (scores, truths)])
    thresholds = [best_threshold(*part) for part in parts]
    # Scores relative to the other half's threshold: 0 or more is called spliced.
    moved = [scores - thresholds[1 - half] for half, (scores, _) in enumerate(parts)]
    truth = np.concatenate([part[1] for part in parts])
    found = evaluate_detection(np.concatenate(moved), truth, 0.0)
    whole = auc(*(np.concatenate([p[0][p[1] == side] for p in parts]) for side in (False, True)))
    each = [auc(s[~t], s[t]) for s, t in zip(scores, truths, strict=True)]
    return {
        **found._asdict(),
        "auc": whole,
        "mean AUC": float(np.mean(each)),
        "thresholds": [-value for value in thresholds],
    }


def _by_line(rows: list[dict[str, Any]]) -> dict[str, dict[int, SpliceDetection]]:
    lines: dict[str, dict[int, SpliceDetection]] = {}
    for row in rows:
        found = SpliceDetection(*(row[name] for name in SpliceDetection._fields))
        lines.setdefault(row["fingerprint"], {})[row["window"]] = found
    return lines


def _show(rows: list[dict[str, Any]], everything: float) -> None:
    names = ("auc", "mean AUC", "f1", "precision", "recall")
    table = Table("fingerprint", "window", *names)
    for row in rows:
        values = (f"{row[name]:.3f}" for name in names)
        table.add_row(row["fingerprint"], str(row["window"]), *values)
    console().print(table)
    console().print(f"everything called spliced: F1 {everything:.3f}")


if __name__ == "__main__":
    sys.exit(run(main, "splices.py"))
