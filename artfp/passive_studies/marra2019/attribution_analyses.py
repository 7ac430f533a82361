"""Analyses of the attribution to the largest correlation, and of what lowers it."""

from __future__ import annotations

import numpy as np

from artfp.passive.report import plot_fractions
from artfp.passive.roc import Accuracy, attribution_accuracy, confusion_counts
from artfp.passive_studies.marra2019.analysis_result import ALL, AnalysisResult, Row, SourceInfo
from artfp.passive_studies.marra2019.measure import ResidualMeasurements
from artfp.passive_studies.marra2019.plots import plot_accuracy, plot_conditions, plot_jpeg


def analyse_confusion(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_perturbed(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_jpeg(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_number(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_size(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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
