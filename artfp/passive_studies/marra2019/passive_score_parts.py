"""Analyses of a passive study that look at correlations of test images with fingerprints."""

from __future__ import annotations

import numpy as np

from artfp.passive.roc import (
    Accuracy,
    attribution_accuracy,
    mean_correlations,
    one_vs_rest_auc,
    pairwise_auc,
    pooled_auc,
)
from artfp.passive_studies.marra2019.analyses import Kinship, Part, Row
from artfp.passive_studies.marra2019.dependence import RUN, SAME, dependence
from artfp.passive_studies.marra2019.measure import Measured
from artfp.passive_studies.marra2019.passive_lines import plot_accuracy
from artfp.passive_studies.marra2019.passive_real import real_against
from artfp.passive_studies.marra2019.pictures import plot_matrix
from artfp.passive_studies.marra2019.plots import (
    plot_dependence,
    plot_histograms,
    plot_jpeg,
    plot_real,
)

ALL = "all"
OTHERS = "all others"


def histograms(measured: Measured, kinship: Kinship) -> Part:
    """Same and cross correlations with their areas."""
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
        f"fingerprints; of the {len(pairs)} pairs the mean is "
        f"{np.mean([pair[2].value for pair in pairs]):.4f} and the least {worst[2].value:.4f}, "
        f"{worst[0]} against {worst[1]}. The table has all others; the CSV "
        "has the pairs too."
    )
    return Part(text, rows, plot_histograms(scores), rows[: 1 + len(names)])


def matrix(measured: Measured, kinship: Kinship) -> Part:
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
        f"{found[~other].mean():.4f} with the own one, {found[other].mean():.4f} with others; "
        f"the own one is the largest for {largest} of {len(names)} sources."
    )
    return Part(text, rows, plot_matrix(found, names))


def jpeg(measured: Measured, kinship: Kinship) -> Part:
    """Attribution of test images that went through JPEG."""
    before = attribution_accuracy(measured.scores)
    after = {quality: attribution_accuracy(scores) for quality, scores in measured.jpeg.items()}
    rows = _accuracy_rows(measured, {"test_images": "as they are"}, before)
    for quality, found in after.items():
        rows += _accuracy_rows(measured, {"test_images": f"JPEG {quality}"}, found)
    told = ", ".join(f"{found.overall:.1%} after JPEG {q}" for q, found in after.items())
    low, high = before.interval()
    text = (
        "Attribution to the largest correlation; fingerprints are those of the images as they are. "
        f"Accuracy {before.overall:.1%} ({low:.1%} to {high:.1%}), {told}; chance is "
        f"{1 / len(measured.sources):.1%}."
    )
    return Part(text, rows, plot_jpeg(before, after, measured.sources))


def _accuracy_rows(measured: Measured, about: Row, found: Accuracy) -> list[Row]:
    rows = []
    for index in (None, *range(len(measured.sources))):
        low, high = found.interval(index)
        share = found.overall if index is None else found.fraction(index)
        name = ALL if index is None else measured.sources[index]
        images = sum(found.images) if index is None else found.images[index]
        told = {"accuracy": share, "low": low, "high": high, "images": images}
        rows.append({**about, "source": name, **told})
    return rows


def number(measured: Measured, kinship: Kinship) -> Part:
    """Attribution by fingerprints of fewer images."""
    counts, tested = sorted(measured.numbers), np.asarray(measured.tested)
    rows, overall = [], []
    by_source: dict[str, list[float]] = {name: [] for name in measured.sources}
    for count in counts:
        hits = measured.numbers[count]
        shares = {ALL: hits.sum(1) / tested.sum()}
        shares |= {n: hits[:, i] / tested[i] for i, n in enumerate(measured.sources)}
        for name, found in shares.items():
            told = (float(found.mean()), float(found.min()), float(found.max()))
            rows.append(
                {"fingerprint_images": count, "source": name, "accuracy": told[0],
                 "worst_draw": told[1], "best_draw": told[2], "draws": len(found)}
            )  # fmt: skip
            if name == ALL:
                overall.append(told)
            else:
                by_source[name].append(told[0])
    told_shares = ", ".join(f"{v[0]:.1%} with {c}" for c, v in zip(counts, overall, strict=True))
    text = (
        "Attribution by fingerprints of fewer images, each number drawn up to "
        f"{max(map(len, measured.numbers.values()))} times without an image twice; the band is "
        f"from the worst draw to the best. Accuracy {told_shares}."
    )
    across = "images that a fingerprint is estimated from"
    picture = plot_accuracy(counts, overall, by_source, across, images=True)
    return Part(text, rows, picture, [row for row in rows if row["source"] == ALL])


def size(measured: Measured, kinship: Kinship) -> Part:
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
    told = ", ".join(f"{a.overall:.1%} at {w}x{h}" for (h, w), a in found.items())
    text = (
        "Attribution by the middle of residual and fingerprint, cut at the same place; the band is "
        f"the 95% interval. Accuracy {told}."
    )
    places = [float(width) for _, width in found]
    picture = plot_accuracy(places, overall, by_source, "width of the middle, pixels", images=False)
    return Part(text, rows, picture, [row for row in rows if row["source"] == ALL])


def real(measured: Measured, kinship: Kinship) -> Part:
    """Real images against generated ones."""
    found = real_against(measured.scores, kinship.real)
    areas = [(ALL, "known", found.known())]
    for i, each in enumerate(found.generated):
        areas.append((each.source, "known", found.known(i)))
        if (unknown := found.unknown(i)) is not None:
            areas.append((each.source, "unknown", unknown))
    rows = [
        {"generator": name, "its_fingerprint": known, "auc": a.value, "low": a.low, "high": a.high,
         "images": a.positives, "real_images": a.negatives}
        for name, known, a in areas
    ]  # fmt: skip
    whole = areas[0][2]
    unseen = [a.value for _, known, a in areas if known == "unknown"]
    text = (
        f"Generated images against {' and '.join(kinship.real)} by the largest correlation with "
        f"any generator's fingerprint: AUC {whole.value:.4f} ({whole.low:.4f} to {whole.high:.4f})."
    )
    if unseen:
        text += (
            " Where the image's own generator is unknown and only the others' fingerprints are "
            f"there, {np.mean(unseen):.4f} in the mean, {min(unseen):.4f} to {max(unseen):.4f}."
        )
    return Part(text, rows, plot_real(found))


def kinds(measured: Measured, kinship: Kinship) -> Part:
    """Mean correlations by what two sources differ in."""
    found = dependence(measured.scores, kinship.facts)
    titles = [k.differ if k.differ in (SAME, RUN) else f"other {k.differ}" for k in found]
    rows = [
        {"pairs_are": title, "pairs": len(k.pairs), "mean": k.mean, "low": k.low, "high": k.high,
         "least": min(k.pairs.values()), "most": max(k.pairs.values())}
        for title, k in zip(titles, found, strict=True)
    ]  # fmt: skip
    told = "; ".join(f"{row['pairs_are']} {row['mean']:.4f}" for row in rows)
    text = (
        "Mean correlation of one source's test images with another's fingerprint, by what the two "
        f"differ in: {told}. Intervals are over test images (bootstrap) and know nothing of other "
        "trainings; `least` and `most` are single pairs."
    )
    pairs = {
        title: [{"images_of": a, "fingerprint_of": b, "mean": v} for (a, b), v in k.pairs.items()]
        for title, k in zip(titles, found, strict=True)
    }
    facts = {name: dict(each) for name, each in kinship.facts.items()}
    return Part(
        text, rows, plot_dependence(found, titles), figures={"pairs": pairs, "facts": facts}
    )
