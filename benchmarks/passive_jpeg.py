"""Passive attribution after JPEG, fitted to images as they are or also to recompressed copies.

    python benchmarks/passive_jpeg.py --data_dir SOURCES --output results/passive_jpeg.json

Sources, images that fit and images that test as in `passive.py`, once with all sources and once
with the generators alone (--real names the others). Test images come as they are and after JPEG
of each of --jpeg. Figures: the share of images whose likeliest source is the right one, for plain
correlation the share of the largest, and the share of images called none of these at --alpha.
`unknown_rejected` (JSON): the same of images of a source that the fusion was not fitted to.
`seconds` is the processor time of the fit of a way, without reading the images.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from numpy.typing import NDArray
from passive import Images
from rich.table import Table

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.sources import (
    open_sources,
)
from artfp.data.subset import split_sources
from artfp.data.tables import round_significant
from artfp.passive.attributors.base import AttributorPart
from artfp.passive.attributors.bundle import score_vectors
from artfp.passive.attributors.correlation import (
    MATCHED_FILTER,
    PLAIN_CORRELATION,
    CorrelationOptions,
)
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.verdicts import NONE, DecisionRule, predict_images
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cross_validation import (
    cross_validate_correlation,
    cross_validate_spectrum,
)
from artfp.passive.fitting.image_set import MIN_IMAGES, QUALITIES, ImageSet
from artfp.passive_studies.marra2019.study import real_sources
from artfp.perturbations.registry import PERTURBATIONS

Values = NDArray[np.float64]
Batches = list[tuple[NDArray[np.int64], torch.Tensor]]
Row = dict[str, Any]
AS_THEY_ARE = "as they are"
TAPER = "image, none"


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, test, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="a subfolder of images for each source")
    parser.add_argument("--fit", type=int, default=512, help="images of each source that estimate")
    parser.add_argument("--test", type=int, default=488, help="others that test, at most")
    parser.add_argument("--jpeg", type=int, nargs="+", default=[95, 85, 75], help="qualities")
    parser.add_argument("--real", nargs="*", help='default: sources named "real..."')
    parser.add_argument("--left_out", nargs="*", help="sources to leave out in turn; default: all")
    parser.add_argument("--extractor", default="wavelet:sigma=5", help="of all correlations")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    sources = open_sources(Path(args.data_dir))
    real = real_sources(list(sources), None if args.real is None else tuple(args.real))
    groups = {"all": sources}
    if real:
        groups["generators"] = {name: each for name, each in sources.items() if name not in real}
    rows = [row for group, each in groups.items() for row in rows_of(group, each, args)]
    names = list(sources) if args.left_out is None else args.left_out
    strangers = [row for left in names for row in unknown(left, sources, args)]
    console().print(_table(rows))
    for row in strangers:
        console().print(row)
    if args.output:
        report.write(
            args.output,
            sources=list(sources),
            real=list(real),
            extractor=args.extractor,
            copies=list(QUALITIES),
            fit=args.fit,
            test=args.test,
            alpha=args.alpha,
            rows=round_significant(rows),
            unknown_rejected=round_significant(strangers),
        )
    return 0


def rows_of(group: str, sources: Images, args: argparse.Namespace) -> list[Row]:
    """One row for each way and for what it was fitted to."""
    fitted, tested = split_sources(sources, args.fit, args.test, args.seed)
    test = _material(tested, args.seed, 1)
    conditions = {AS_THEY_ARE: _coded(test, None)}
    conditions |= {f"JPEG {quality}": _coded(test, quality) for quality in args.jpeg}
    rows: list[Row] = []
    for copies in (False, True):
        train = _material(fitted, args.seed, MIN_IMAGES, copies)
        ways = {} if copies else {"plain": _correlation(train, PLAIN_CORRELATION, args.extractor)}
        ways |= _robust_ways(train, args.extractor)
        scored = {
            name: {what: _scores(way.parts, batches) for what, batches in conditions.items()}
            for name, way in ways.items()
            if name != "fusion"
        }
        scored["fusion"] = {
            what: np.concatenate([scored["matched"][what], scored["spectrum"][what]], 1)
            for what in conditions
        }
        for name, way in ways.items():
            model = ScoreModel.fit(way.held, train.labels, train.states)
            row: Row = {"sources": group, "way": name, "copies": copies, "seconds": way.seconds}
            for what, scores in scored[name].items():
                logs = model.limited(model.log_likelihoods(scores))
                ranks = scores if name == "plain" else model.log_likelihoods(scores)
                said = predict_images(
                    logs, model.p_values(scores), test.sources, DecisionRule(args.alpha)
                )
                row[what] = {
                    "right": float((ranks.argmax(1) == test.labels).mean()),
                    "rejected": float(np.mean([each.verdict == NONE for each in said])),
                }
            rows.append(row)
        train.close()
    return rows


def unknown(left: str, sources: Images, args: argparse.Namespace) -> list[Row]:
    """How many images of a source are called none of these by fusions that do not know it."""
    fitted, tested = split_sources(sources, args.fit, args.test, args.seed)
    del fitted[left]
    test = _material({left: tested[left]}, args.seed, 1)
    rows: list[Row] = []
    for copies in (False, True):
        train = _material(fitted, args.seed, MIN_IMAGES, copies)
        way = _robust_ways(train, args.extractor)["fusion"]
        model = ScoreModel.fit(way.held, train.labels, train.states)
        row: Row = {"left_out": left, "copies": copies}
        for quality in (None, *args.jpeg):
            scores = _scores(way.parts, _coded(test, quality))
            logs = model.limited(model.log_likelihoods(scores))
            said = predict_images(
                logs, model.p_values(scores), train.sources, DecisionRule(args.alpha)
            )
            what = AS_THEY_ARE if quality is None else f"JPEG {quality}"
            row[what] = float(np.mean([each.verdict == NONE for each in said]))
        rows.append(row)
        train.close()
    return rows


@dataclass(frozen=True)
class Fitted:
    """A way with what held out images score (N, D) and the processor time that it took."""

    parts: tuple[AttributorPart, ...]
    held: Values
    seconds: float


def _robust_ways(train: ImageSet, extractor: str) -> dict[str, Fitted]:
    """The ways that `artfp attribute fit` compares."""
    one = _correlation(train, MATCHED_FILTER, extractor)
    started = time.process_time()
    spectra, held = cross_validate_spectrum(train, TAPER, "cpu")
    other = Fitted(spectra, held, time.process_time() - started)
    both = np.concatenate([one.held, other.held], 1)
    fusion = Fitted(one.parts + other.parts, both, one.seconds + other.seconds)
    return {"matched": one, "spectrum": other, "fusion": fusion}


def _correlation(train: ImageSet, how: CorrelationOptions, extractor: str) -> Fitted:
    started = time.process_time()
    part, held = cross_validate_correlation(train, how, extractor, "cpu")
    return Fitted((part,), held, time.process_time() - started)


def _material(images: Images, seed: int, least: int, copies: bool = False) -> ImageSet:
    found = ImageSet(images, seed=seed, min_images=least, recompress=copies)
    if found.policy.kind != ALIGNED:
        raise UserError("the images of all sources must have one size; cut them, do not resize")
    return found


def _coded(image_set: ImageSet, quality: int | None) -> Batches:
    """All images (n, 3, H, W), uint8, in batches with their rows, after JPEG of a quality."""
    codec, found = PERTURBATIONS["jpeg"], []
    for rows, x in image_set.batches(np.arange(len(image_set))):
        pixels = to_8bit(x)
        if quality is not None:
            pixels = codec.real(pixels, float(quality), torch.Generator())
        found.append((rows, pixels))
    return found


def _scores(parts: Sequence[AttributorPart], batches: Batches) -> Values:
    """Scores (M, D) of all images."""
    found = np.empty((sum(len(rows) for rows, _ in batches), sum(len(p.sources) for p in parts)))
    for rows, pixels in batches:
        found[rows] = score_vectors(parts, to_unit(pixels))
    return found


def _table(rows: Sequence[Row]) -> Table:
    whats = [key for key, value in rows[0].items() if isinstance(value, dict)]
    table = Table("sources", "way", "copies", *whats, "rejected", "after JPEG", "seconds")
    for row in rows:
        right = [f"{row[what]['right']:.4f}" for what in whats]
        rejected = [row[what]["rejected"] for what in whats]
        cells = (f"{rejected[0]:.3f}", f"{max(rejected[1:]):.3f}", f"{row['seconds']:.0f}")
        table.add_row(row["sources"], row["way"], "yes" if row["copies"] else "", *right, *cells)
    return table


if __name__ == "__main__":
    sys.exit(run(main, "passive_jpeg.py"))
