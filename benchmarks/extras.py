"""Shared by `cameras.py` and `generators.py`: gain by each option of camera forensics.

Every row is one scoring of images against fingerprints:

- colour: RGB as one array, or the luminance of residuals and fingerprints.
- estimate: the mean residual, or maximum likelihood; `times image` correlates a residual with image
  times estimate, which is what maximum likelihood is meant for.
- clean: zero mean by parity, DFT-Wiener, both (in this order), of residual and fingerprint.
- score: inner product; the same normalised (`correlation`); that with the fingerprints less their mean
  over the sources (`less common`); PCE at shift 0; PCE at the best shift.

Columns are the AUC over all pairs of image and source, and how many images have their own source's
score highest. Scores of one image with several sources are not independent, so intervals come from
resampling whole images (bootstrap, percentiles), those of differences to the plain row of the same
score by resampling both together.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from artfp.data.files import write_atomic
from artfp.data.tables import csv_line
from artfp.passive.residuals.prnu import (
    clean_residuals,
    compare_residuals,
    grey,
    reference_patterns,
)
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, correlation
from artfp.passive.residuals.settings import PrnuSettings
from artfp.stats.intervals import auc

Array = NDArray[np.float64]

COLOURS = ("rgb", "grey")
CLEANS = ("none", "zero mean", "wiener", "both")
SCORES = ("product", "correlation", "less common", "pce unshifted", "pce")
_OF_ESTIMATE = {
    "mean": SCORES,
    "ml": ("product", "correlation", "less common", "pce unshifted"),
    "ml times image": ("correlation",),
}
COLUMNS = ("extractor", "colour", "estimate", "clean", "score", "auc", "low", "high", "gain",
           "gain_low", "gain_high", "own_highest", "images")  # fmt: skip


@dataclass(frozen=True)
class Scoring:
    """Scoring of images against fingerprints; by default the plain one of a score."""

    score: str
    colour: str = "rgb"
    estimate: str = "mean"
    clean: str = "none"

    @property
    def settings(self) -> PrnuSettings:
        """Settings of the library for it."""
        return PrnuSettings(
            grey=self.colour == "grey",
            zero_mean=self.clean in ("zero mean", "both"),
            wiener=self.clean in ("wiener", "both"),
            maximum_likelihood=self.estimate.startswith("ml"),
            subtract_grand_mean=self.score == "less common",
            pce=self.score.startswith("pce"),
            max_shift=0 if self.score == "pce unshifted" else None,
        )


def all_scorings() -> Iterator[Scoring]:
    """All of them, plain ones first."""
    for colour in COLOURS:
        for estimate, chosen in _OF_ESTIMATE.items():
            for clean in CLEANS:
                for score in chosen:
                    yield Scoring(score, colour, estimate, clean)


def scores(
    fingerprints: Sequence[ResidualFingerprint], images: Tensor, residuals: Tensor, batch: int
) -> dict[Scoring, Array]:
    """Scores (N, K) of images (N, 3, H, W) by their residuals, by every scoring."""
    found: dict[Scoring, list[Tensor]] = {scoring: [] for scoring in all_scorings()}
    kinds = {replace(scoring.settings, pce=False, max_shift=0) for scoring in found}
    references = {kind: reference_patterns(fingerprints, kind) for kind in kinds}
    for x, noise in zip(images.split(batch), residuals.split(batch), strict=True):
        shades = {"rgb": x, "grey": grey(x)}
        cleaned: dict[tuple[str, str], Tensor] = {}
        for scoring, result in found.items():
            key = (scoring.colour, scoring.clean)
            if key not in cleaned:
                cleaned[key] = clean_residuals(noise, scoring.settings)
            reference = references[replace(scoring.settings, pce=False, max_shift=0)]
            result.append(_scored(scoring, cleaned[key], reference, shades[scoring.colour]))
    return {scoring: torch.cat(result).double().numpy() for scoring, result in found.items()}


def rows(
    extractor: str, found: dict[Scoring, Array], truth: NDArray[np.bool_], resamples: int
) -> list[dict[str, Any]]:
    """Return a row for each scoring; `truth` (N, K) is True for pairs that belong together."""
    count = len(truth)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, count, count) for _ in range(resamples)]
    plain = {score: [_area(found[Scoring(score)][i], truth[i]) for i in drawn] for score in SCORES}
    result = []
    for scoring, table in found.items():
        area = _area(table, truth)
        again = [_area(table[i], truth[i]) for i in drawn]
        gains = np.subtract(again, plain[scoring.score])
        right = int(truth[np.arange(count), table.argmax(1)].sum())
        result.append(
            {
                "extractor": extractor,
                **vars(scoring),
                "auc": area,
                **dict(zip(("low", "high"), _percentiles(again), strict=True)),
                "gain": area - _area(found[Scoring(scoring.score)], truth),
                **dict(zip(("gain_low", "gain_high"), _percentiles(gains), strict=True)),
                "own_highest": right,
                "images": count,
            }
        )
    return result


def headline(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """AUC of RGB mean residuals by score, each as it is, and the best row of each score."""
    result: dict[str, Any] = {}
    for score in SCORES:
        own = [row for row in found if row["score"] == score]
        plain = next(row for row in own if _is_plain(row))
        best = max(own, key=lambda row: row["auc"])
        result[score] = {
            "plain": plain["auc"],
            "plain_interval": [plain["low"], plain["high"]],
            "best": best["auc"],
            "best_interval": [best["low"], best["high"]],
            "best_way": ", ".join(best[name] for name in ("colour", "estimate", "clean")),
        }
    return result


def write_csv(output: str, found: Sequence[dict[str, Any]]) -> None:
    """All rows, beside the JSON file."""
    lines = [csv_line(COLUMNS)]
    for row in found:
        values = (row[name] for name in COLUMNS)
        lines.append(csv_line(f"{v:.5f}" if isinstance(v, float) else v for v in values))
    write_atomic(Path(output).with_suffix(".csv"), "".join(lines))


def table(found: Sequence[dict[str, Any]]) -> Table:
    """For the console."""
    out = Table("colour", "estimate", "clean", "score", "AUC", "95%", "gain", "95% ", "own highest")
    for row in found:
        out.add_row(
            *(row[name] for name in ("colour", "estimate", "clean", "score")),
            f"{row['auc']:.4f}",
            f"{row['low']:.3f}-{row['high']:.3f}",
            f"{row['gain']:+.4f}",
            f"{row['gain_low']:+.3f} {row['gain_high']:+.3f}",
            f"{row['own_highest']} of {row['images']}",
        )
    return out


def _is_plain(row: dict[str, Any]) -> bool:
    return (row["colour"], row["estimate"], row["clean"]) == ("rgb", "mean", "none")


def _scored(scoring: Scoring, cleaned: Tensor, references: Tensor, x: Tensor) -> Tensor:
    if scoring.score == "product":
        return correlation(cleaned, references, normalised=False)
    if "times" not in scoring.estimate:
        return compare_residuals(cleaned, references, scoring.settings)
    each = [
        correlation(row[None], image * references) for row, image in zip(cleaned, x, strict=True)
    ]
    return torch.cat(each)


def _area(table: Array, truth: NDArray[np.bool_]) -> float:
    return auc(table[~truth], table[truth])


def _percentiles(values: Sequence[float] | Array) -> list[float]:
    return [float(v) for v in np.quantile(values, [0.025, 0.975])]
