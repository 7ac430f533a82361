"""Analyses of correlations: own against others', ROC, real images, what two sources share."""

from __future__ import annotations

import numpy as np

from artfp.passive.report import plot_curves
from artfp.passive.roc import (
    mean_correlations,
    measure_threshold,
    one_vs_rest_auc,
    pairwise_auc,
    pooled_auc,
    roc_curve,
)
from artfp.passive_studies.marra2019.analysis_result import ALL, AnalysisResult, Row, SourceInfo
from artfp.passive_studies.marra2019.dependence import (
    RUN,
    SAME,
    compare_pairs,
    compare_real_generated,
)
from artfp.passive_studies.marra2019.measure import ResidualMeasurements
from artfp.passive_studies.marra2019.pictures import plot_matrix
from artfp.passive_studies.marra2019.plots import plot_dependence, plot_histograms, plot_real

OTHERS = "all others"


def analyse_histograms(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_matrix(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_roc(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_real(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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


def analyse_dependence(measured: ResidualMeasurements, info: SourceInfo) -> AnalysisResult:
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
