"""Analyses of the fingerprints themselves: how they look, their energy, their period."""

from __future__ import annotations

import numpy as np

from artfp.passive_studies.marra2019.analysis_result import AnalysisResult, SourceInfo
from artfp.passive_studies.marra2019.energy import (
    autocorrelation,
    crop_shifts,
    fit_energy_curve,
    strongest_peak,
)
from artfp.passive_studies.marra2019.measure import ResidualMeasurements
from artfp.passive_studies.marra2019.pictures import plot_autocorrelation, plot_fingerprints
from artfp.passive_studies.marra2019.plots import plot_energy

SHOWN_COUNTS = (2, 8, 32, 128, 512)
"""Numbers of images of the fingerprints in the figure, as in Marra et al. 2019."""

MIN_SHIFT, MAX_SHIFT = 2, 32
"""Shifts in pixels at which peaks of an autocorrelation are sought."""


def analyse_fingerprints(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Fingerprints, amplified."""
    counts = sorted({c for c in SHOWN_COUNTS if c in measured.blocks[0].means} | {measured.images})
    shown = {
        name: {count: blocks.means[count][0] for count in counts}
        for name, blocks in zip(measured.sources, measured.blocks, strict=True)
    }
    rows = [
        {
            "source": each.source,
            "images": each.count,
            "test_images": test_counts,
            "fingerprint_sd": 255.0 * float(each.mean.double().std(correction=0)),
            "files": ", ".join(f"{n} {codec}" for codec, n in sorted(each.codecs.items())),
        }
        for each, test_counts in zip(measured.fingerprints, measured.test_counts, strict=True)
    ]
    text = (
        "Mean residuals, each amplified until three of its standard deviations are black or white. "
        "`fingerprint_sd` is the standard deviation of the mean of all, in grey levels."
    )
    return AnalysisResult(text, rows, plot_fingerprints(shown))


def analyse_energy(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """E(N) with both fits."""
    found = [fit_energy_curve(n, b) for n, b in zip(measured.sources, measured.blocks, strict=True)]
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
        f"{off['averaging']:.1%} against {off['halving']:.1%} in the median. Averaging independent "
        "noise gives 1 / N; `shared` in the JSON, the mean product of two different residuals, is "
        "Einf without a fit. The table has fits that minimise relative deviations; the CSV has "
        "those that minimise plain ones too."
    )
    by_source = {
        each.source: {
            "energies": {str(n): value for n, value in each.energies.items()},
            "shared": each.shared,
        }
        for each in found
    }
    shown = [row for row in rows if row["least_squares"] == "relative"]
    return AnalysisResult(text, rows, plot_energy(found), shown, {"by_source": by_source})


def analyse_autocorrelation(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Autocorrelation of the fingerprints."""
    surfaces = [
        autocorrelation(each.mean[None])[0].numpy().astype(np.float64)
        for each in measured.fingerprints
    ]
    max_shift = max(MIN_SHIFT, min(MAX_SHIFT, min(measured.size) // 2))
    rows = []
    for name, surface in zip(measured.sources, surfaces, strict=True):
        peak = strongest_peak(surface, MIN_SHIFT, max_shift)
        rows.append({"source": name, "peak": peak.value, "down": peak.down, "right": peak.right})
    text = (
        "Autocorrelation of the fingerprints, 1 at shift 0; the table has the largest peak at "
        f"shifts from {MIN_SHIFT} to {max_shift} pixels. Peaks in rows are the period of an "
        "upsampling."
    )
    middle = {n: crop_shifts(s, max_shift) for n, s in zip(measured.sources, surfaces, strict=True)}
    return AnalysisResult(text, rows, plot_autocorrelation(middle, MIN_SHIFT))
