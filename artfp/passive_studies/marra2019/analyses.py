"""Analyses of Marra et al. 2019: from measurements to a text, a table and a figure each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from artfp.passive.report import plot_curves, plot_fractions
from artfp.passive.roc import (
    Accuracy,
    attribution_accuracy,
    confusion_counts,
    mean_correlations,
    measure_threshold,
    one_vs_rest_auc,
    pairwise_auc,
    pooled_auc,
    roc_curve,
)
from artfp.passive_studies.marra2019.dependence import (
    RUN,
    SAME,
    SourceMetadata,
    compare_pairs,
    compare_real_generated,
)
from artfp.passive_studies.marra2019.energy import (
    autocorrelation,
    crop_shifts,
    fit_energy_curve,
    strongest_peak,
)
from artfp.passive_studies.marra2019.measure import ResidualMeasurements
from artfp.passive_studies.marra2019.pictures import (
    plot_autocorrelation,
    plot_fingerprints,
    plot_matrix,
)
from artfp.passive_studies.marra2019.plots import (
    plot_accuracy,
    plot_conditions,
    plot_dependence,
    plot_energy,
    plot_histograms,
    plot_jpeg,
    plot_real,
)

SHOWN_COUNTS = (2, 8, 32, 128, 512)
"""Numbers of images of the fingerprints in the figure, as in Marra et al. 2019."""

MIN_SHIFT, MAX_SHIFT = 2, 32
"""Shifts in pixels at which peaks of an autocorrelation are sought."""

ALL = "all"
OTHERS = "all others"

Row = dict[str, Any]


@dataclass(frozen=True)
class AnalysisResult:
    """Result of an analysis.

    Args:
        text: Sentences with the main figures.
        rows: Table; all rows have the same keys.
        figure: PNG file.
        shown: Rows that the page shows, if not all.
        values: Other results, as JSON values.
    """

    text: str
    rows: list[Row]
    figure: bytes
    shown: list[Row] | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceInfo:
    """Sources of real images, and metadata of the others."""

    real: tuple[str, ...]
    metadata: Mapping[str, SourceMetadata]


def _fingerprints(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def _energy(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def _autocorrelation(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def _histograms(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Same and cross correlations with AUC."""
    scores, names = measured.scores, measured.sources
    pooled, own = pooled_auc(scores), one_vs_rest_auc(scores)
    found = [(ALL, OTHERS, pooled)]
    found += [(name, OTHERS, each) for name, each in zip(names, own, strict=True)]
    found += [(names[i], names[j], each) for (i, j), each in pairwise_auc(scores).items()]
    rows = [
        {"fingerprint_of": of, "against": against, "auc": a.value, "low": a.low, "high": a.high,
         "images": a.positives, "other_images": a.negatives}
        for of, against, a in found
    ]  # fmt: skip
    pairs = found[1 + len(names) :]
    worst = min(pairs, key=lambda pair: pair[2].value)
    text = (
        "Correlations of test images with a fingerprint: of its own source's images against other "
        f"sources' images. AUC {pooled.value:.4f} ({pooled.low:.4f} to {pooled.high:.4f}) over all "
        f"fingerprints; over the {len(pairs)} pairs the mean is "
        f"{np.mean([pair[2].value for pair in pairs]):.4f} and the lowest {worst[2].value:.4f}, "
        f"{worst[0]} against {worst[1]}. The table has all others; the CSV "
        "has the pairs too."
    )
    return AnalysisResult(text, rows, plot_histograms(scores), rows[: 1 + len(names)])


def _matrix(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Mean correlation of each source's test images with each fingerprint."""
    found, names = mean_correlations(measured.scores), measured.sources
    rows = [
        {"test images of": name, **{other: found[i, j] for j, other in enumerate(names)}}
        for i, name in enumerate(names)
    ]
    other = ~np.eye(len(names), dtype=bool)
    largest = int((found.argmax(1) == np.arange(len(names))).sum())
    text = (
        "Mean correlation of test images (rows) with fingerprints (columns): "
        f"{found[~other].mean():.4f} with the own fingerprint, {found[other].mean():.4f} with "
        f"others; "
        f"the own fingerprint has the largest for {largest} of {len(names)} sources."
    )
    return AnalysisResult(text, rows, plot_matrix(found, names))


def _confusion(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Attributed sources of each source's test images."""
    counts, names = confusion_counts(measured.scores), measured.sources
    fractions = counts / counts.sum(1, keepdims=True)
    rows = [
        {"test images of": name, **dict(zip(names, own.tolist(), strict=True))}
        for name, own in zip(names, counts, strict=True)
    ]
    wrong = fractions - np.diag(fractions.diagonal())
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    right = int(counts.diagonal().sum())
    text = (
        "Test images (rows) by the fingerprint with the largest correlation (columns): "
        f"{right} of {counts.sum()} are attributed to their source ({right / counts.sum():.1%})."
    )
    if wrong.any():
        text += (
            f" The most frequent error: {wrong[row, column]:.1%} of the images of {names[row]} are "
            f"attributed to {names[column]}."
        )
    figure = plot_fractions(fractions, names, names, "attributed to")
    return AnalysisResult(text, rows, figure)


def _roc(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """ROC of each fingerprint, and thresholds of a validation set."""
    scores, names = measured.scores, measured.sources
    areas = dict(zip(names, one_vs_rest_auc(scores), strict=True))
    curves = {n: roc_curve(scores.cross(i), scores.same(i)) for i, n in enumerate(names)}
    rows = [
        {"fingerprint_of": name, "false_positive_rate": x, "true_positive_rate": y}
        for name, (false, true) in curves.items()
        for x, y in zip(false.tolist(), true.tolist(), strict=True)
    ]
    shown: list[Row] = []
    for i, (name, area) in enumerate(areas.items()):
        row = {"fingerprint_of": name, "auc": area.value, "low": area.low, "high": area.high}
        if measured.validation is not None:
            other, own = scores.cross(i), scores.same(i)
            found = measure_threshold(measured.validation.cross(i), other, own, measured.fpr)
            row |= {
                "threshold": found.value,
                "false_positive_rate": found.false_positive_rate,
                "true_positive_rate": found.true_positive_rate,
            }
        shown.append(row)
    text = (
        "An image is of a source if its correlation with the source's fingerprint exceeds a "
        "threshold: rates of other sources' and of its own test images for all thresholds. The "
        "CSV has the curves."
    )
    if measured.validation is not None:
        text += (
            f" `threshold` was chosen on the validation images, for a false positive rate of "
            f"{measured.fpr:g}; the rates beside it are of the test images."
        )
    figure = plot_curves(
        curves,
        {name: area.value for name, area in areas.items()},
        "false positive rate, other sources' images",
        "true positive rate, its own images",
        None if measured.validation is None else measured.fpr,
        "rate of the thresholds",
    )
    return AnalysisResult(text, rows, figure, shown, {"by_source": shown})


def _perturbed(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Attribution of perturbed test images."""
    found = {"unperturbed": attribution_accuracy(measured.scores)}
    found |= {name: attribution_accuracy(each) for name, each in measured.perturbed.items()}
    rows = [
        row
        for name, each in found.items()
        for row in _accuracy_rows(measured, {"test_images": name}, each)
    ]
    listed = ", ".join(f"{each.overall:.1%} {name}" for name, each in found.items())
    text = (
        "Attribution to the largest correlation; fingerprints are of unperturbed images, test "
        f"images are resized and back, blurred, and so on. Accuracy {listed}; chance is "
        f"{1 / len(measured.sources):.1%}."
    )
    figure = plot_conditions(found, measured.sources)
    return AnalysisResult(text, rows, figure, [row for row in rows if row["source"] == ALL])


def _jpeg(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Attribution of test images after JPEG compression."""
    before = attribution_accuracy(measured.scores)
    after = {quality: attribution_accuracy(scores) for quality, scores in measured.jpeg.items()}
    rows = _accuracy_rows(measured, {"test_images": "unperturbed"}, before)
    for quality, found in after.items():
        rows += _accuracy_rows(measured, {"test_images": f"JPEG {quality}"}, found)
    compressed = ", ".join(f"{found.overall:.1%} after JPEG {q}" for q, found in after.items())
    low, high = before.interval()
    text = (
        "Attribution to the largest correlation; fingerprints are of unperturbed images. "
        f"Accuracy {before.overall:.1%} ({low:.1%} to {high:.1%}), {compressed}; chance is "
        f"{1 / len(measured.sources):.1%}."
    )
    return AnalysisResult(text, rows, plot_jpeg(before, after, measured.sources))


def _accuracy_rows(measured: ResidualMeasurements, about: Row, found: Accuracy) -> list[Row]:
    rows = []
    for index in (None, *range(len(measured.sources))):
        low, high = found.interval(index)
        fraction = found.overall if index is None else found.fraction(index)
        name = ALL if index is None else measured.sources[index]
        images = sum(found.images) if index is None else found.images[index]
        values = {"accuracy": fraction, "low": low, "high": high, "images": images}
        rows.append({**about, "source": name, **values})
    return rows


def _number(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Attribution by fingerprints of fewer images."""
    counts, test_counts = sorted(measured.numbers), np.asarray(measured.test_counts)
    rows, overall = [], []
    by_source: dict[str, list[float]] = {name: [] for name in measured.sources}
    for count in counts:
        correct = measured.numbers[count]
        fractions = {ALL: correct.sum(1) / test_counts.sum()}
        fractions |= {n: correct[:, i] / test_counts[i] for i, n in enumerate(measured.sources)}
        for name, found in fractions.items():
            values = (float(found.mean()), float(found.min()), float(found.max()))
            rows.append(
                {"fingerprint_images": count, "source": name, "accuracy": values[0],
                 "worst_draw": values[1], "best_draw": values[2], "draws": len(found)}
            )  # fmt: skip
            if name == ALL:
                overall.append(values)
            else:
                by_source[name].append(values[0])
    listed = ", ".join(f"{v[0]:.1%} with {c}" for c, v in zip(counts, overall, strict=True))
    text = (
        "Attribution by fingerprints of fewer images, up to "
        f"{max(map(len, measured.numbers.values()))} disjoint draws of each number; the band is "
        f"from the worst draw to the best. Accuracy {listed}."
    )
    across = "images that a fingerprint is estimated from"
    figure = plot_accuracy(counts, overall, by_source, across)
    return AnalysisResult(text, rows, figure, [row for row in rows if row["source"] == ALL])


def _size(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Attribution of smaller images."""
    found = {side: attribution_accuracy(scores) for side, scores in measured.crops.items()}
    rows = []
    for (height, width), each in found.items():
        rows += _accuracy_rows(measured, {"width": width, "height": height}, each)
    by_source = {
        name: [each.fraction(i) for each in found.values()]
        for i, name in enumerate(measured.sources)
    }
    overall = [(each.overall, *each.interval()) for each in found.values()]
    values = ", ".join(f"{a.overall:.1%} at {w}x{h}" for (h, w), a in found.items())
    text = (
        "Attribution by centre crops of residual and fingerprint; the band is "
        f"the 95% interval. Accuracy {values}."
    )
    places = [float(width) for _, width in found]
    figure = plot_accuracy(places, overall, by_source, "width of the centre crop, pixels")
    return AnalysisResult(text, rows, figure, [row for row in rows if row["source"] == ALL])


def _real(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Real images against generated ones."""
    found = compare_real_generated(measured.scores, info.real)
    estimates = [(ALL, "known", found.known())]
    for i, each in enumerate(found.generated):
        estimates.append((each.source, "known", found.known(i)))
        if (unknown := found.unknown(i)) is not None:
            estimates.append((each.source, "unknown", unknown))
    rows = [
        {"generator": name, "its_fingerprint": known, "auc": a.value, "low": a.low, "high": a.high,
         "images": a.positives, "real_images": a.negatives}
        for name, known, a in estimates
    ]  # fmt: skip
    whole = estimates[0][2]
    unseen = [a.value for _, known, a in estimates if known == "unknown"]
    text = (
        f"Generated images against {' and '.join(info.real)} by the largest correlation with "
        f"any generator's fingerprint: AUC {whole.value:.4f} ({whole.low:.4f} to {whole.high:.4f})."
    )
    if unseen:
        text += (
            " If the image's own generator is unknown and only the others' fingerprints are "
            f"known, {np.mean(unseen):.4f} on average, {min(unseen):.4f} to {max(unseen):.4f}."
        )
    return AnalysisResult(text, rows, plot_real(found))


def _dependence(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
    """Mean correlations by what two sources differ in."""
    found = compare_pairs(measured.scores, info.metadata)
    titles = [
        k.difference if k.difference in (SAME, RUN) else f"other {k.difference}" for k in found
    ]
    rows = [
        {"relation": title, "pairs": len(k.pairs), "mean": k.mean, "low": k.low, "high": k.high,
         "lowest": min(k.pairs.values()), "highest": max(k.pairs.values())}
        for title, k in zip(titles, found, strict=True)
    ]  # fmt: skip
    values = "; ".join(f"{row['relation']} {row['mean']:.4f}" for row in rows)
    text = (
        "Mean correlation of one source's test images with another's fingerprint, by what the two "
        f"differ in: {values}. Intervals are over test images (bootstrap), not over other "
        "trainings; `lowest` and `highest` are single pairs."
    )
    pairs = {
        title: [{"images_of": a, "fingerprint_of": b, "mean": v} for (a, b), v in k.pairs.items()]
        for title, k in zip(titles, found, strict=True)
    }
    metadata = {name: dict(each) for name, each in info.metadata.items()}
    return AnalysisResult(
        text, rows, plot_dependence(found, titles), values={"pairs": pairs, "metadata": metadata}
    )


@dataclass(frozen=True)
class Analysis:
    """Heading of an analysis, and its function."""

    title: str
    analyse: Callable[[ResidualMeasurements, SourceInfo], AnalysisResult]


ANALYSES = {
    "fingerprints": Analysis("Fingerprints", _fingerprints),
    "energy": Analysis("Energy of averaged residuals", _energy),
    "autocorrelation": Analysis("Autocorrelation of the fingerprints", _autocorrelation),
    "histograms": Analysis("Same and cross correlations", _histograms),
    "matrix": Analysis("Mean correlations", _matrix),
    "confusion": Analysis("Confusions", _confusion),
    "roc": Analysis("ROC of each fingerprint", _roc),
    "jpeg": Analysis("Attribution after JPEG", _jpeg),
    "perturbed": Analysis("Attribution after other perturbations", _perturbed),
    "number": Analysis("Attribution by the number of images", _number),
    "size": Analysis("Attribution by the size of images", _size),
    "real": Analysis("Real against generated", _real),
    "dependence": Analysis("What fingerprints depend on", _dependence),
}
"""All analyses by name, in the order of the page."""
