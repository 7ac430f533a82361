"""Analyses of a passive study that look at fingerprints; what all analyses leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from artfp.passive_studies.marra2019.dependence import Facts
from artfp.passive_studies.marra2019.energy import energy_of
from artfp.passive_studies.marra2019.measure import Measured
from artfp.passive_studies.marra2019.passive_autocorrelation import (
    autocorrelation,
    strongest,
    within,
)
from artfp.passive_studies.marra2019.passive_lines import plot_energy
from artfp.passive_studies.marra2019.pictures import plot_autocorrelation, plot_fingerprints

SHOWN = (2, 8, 32, 128, 512)
"""Of how many images fingerprints are shown, as in Marra et al. 2019."""

APART, REACH = 2, 32
"""Shifts that count as peaks of an autocorrelation, and half the side, at most."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """What an analysis leaves."""

    text: str
    rows: list[Row]
    """Of its table; all have the same keys."""
    picture: bytes
    shown: list[Row] | None = None
    """The rows that the page shows, if not all."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What is no table, as JSON values."""


@dataclass(frozen=True)
class Kinship:
    """What the analyses know of the sources."""

    real: tuple[str, ...]
    facts: Mapping[str, Facts]


def fingerprints(measured: Measured, kinship: Kinship) -> Part:
    """Fingerprints, amplified."""
    counts = sorted({c for c in SHOWN if c in measured.blocks[0].means} | {measured.images})
    shown = {
        name: {count: blocks.means[count][0] for count in counts}
        for name, blocks in zip(measured.sources, measured.blocks, strict=True)
    }
    rows = [
        {
            "source": each.source,
            "images": each.count,
            "test_images": tested,
            "fingerprint_sd": 255.0 * float(each.mean.double().std(correction=0)),
            "files": ", ".join(f"{n} {codec}" for codec, n in sorted(each.codecs.items())),
        }
        for each, tested in zip(measured.fingerprints, measured.tested, strict=True)
    ]
    text = (
        "Mean residuals, each amplified until three of its standard deviations are black or white. "
        "`fingerprint_sd` is the standard deviation of the mean of all, in grey levels."
    )
    return Part(text, rows, plot_fingerprints(shown))


def energy(measured: Measured, kinship: Kinship) -> Part:
    """E(N) with both fits."""
    found = [energy_of(n, b) for n, b in zip(measured.sources, measured.blocks, strict=True)]
    rows = [
        {
            "source": each.source,
            "fit": {"averaging": "Einf + E0 / N", "halving": "Einf + E0 2^-N"}[fit.shape],
            "least_squares": "relative" if fit.relative else "plain",
            "e_inf": fit.limit,
            "e_0": fit.excess,
            "rms": fit.rms,
            "relative_rms": fit.relative_rms,
            "better": each.better(fit.relative) == fit.shape,
        }
        for each in found
        for fit in each.fits
    ]
    wins = sum(each.better() == "averaging" for each in found)
    plain = sum(each.better(relative=False) == "averaging" for each in found)
    off = {
        shape: float(np.median([each.fit(shape).relative_rms for each in found]))
        for shape in ("averaging", "halving")
    }
    text = (
        "Energy of the mean of N residuals, grey levels² a pixel, over blocks that share no image. "
        f"Einf + E0 / N fits better than Einf + E0 2^-N for {wins} of {len(found)} sources by "
        f"relative deviations, and for {plain} by plain ones; the relative RMS is "
        f"{off['averaging']:.1%} against {off['halving']:.1%} in the median. Averaging what is "
        "independent gives 1 / N; `shared` in the JSON, the mean product of two different "
        "residuals, is Einf without a fit. The table has fits of least relative deviations; the "
        "CSV has plain ones too."
    )
    figures = {
        each.source: {
            "energies": {str(n): value for n, value in each.energies.items()},
            "shared": each.shared,
        }
        for each in found
    }
    shown = [row for row in rows if row["least_squares"] == "relative"]
    return Part(text, rows, plot_energy(found), shown, {"by_source": figures})


def autocorrelations(measured: Measured, kinship: Kinship) -> Part:
    """Autocorrelation of the fingerprints."""
    surfaces = [
        autocorrelation(each.mean[None])[0].numpy().astype(np.float64)
        for each in measured.fingerprints
    ]
    reach = max(APART, min(REACH, min(measured.size) // 2))
    rows = []
    for name, surface in zip(measured.sources, surfaces, strict=True):
        peak = strongest(surface, APART, reach)
        rows.append({"source": name, "peak": peak.value, "down": peak.down, "right": peak.right})
    text = (
        "Autocorrelation of the fingerprints, 1 at shift 0; the table has the largest in size at "
        f"shifts from {APART} to {reach} pixels. Peaks in rows are the period of an upsampling."
    )
    middle = {n: within(s, reach) for n, s in zip(measured.sources, surfaces, strict=True)}
    return Part(text, rows, plot_autocorrelation(middle, APART))
