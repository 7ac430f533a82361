"""Distances of feature sets: against SciPy and plain sums, and whether intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import linalg

from artfp.metrics.frechet_kernel import (
    MIN_IMAGES_PER_FEATURE,
    DistanceComparison,
    DistanceEstimate,
    compare_distances,
    frechet_distance,
    frechet_distance_limit,
    kernel_distance,
)

Array = np.ndarray


def draw(seed: int, count: int, width: int, scale: float = 1.0, shift: float = 0.0) -> Array:
    """Gaussian features whose deviations fall off over the dimensions."""
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(count, width)) / np.arange(1, width + 1) ** 0.35 + shift


def frechet_by_scipy(x: Array, y: Array) -> float:
    """The formula as published, through the matrix square root of the product."""
    first, second = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(first @ second).real
    apart = x.mean(0) - y.mean(0)
    return float(apart @ apart + np.trace(first + second - 2.0 * root))


def kernel_by_pairs(x: Array, y: Array) -> float:
    """The unbiased estimate, pair by pair."""

    def mean(a: Array, b: Array, same: bool) -> float:
        values = [
            (float(np.dot(p, q)) / len(p) + 1.0) ** 3
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if not (same and i == j)
        ]
        return float(np.mean(values))

    return mean(x, x, True) + mean(y, y, True) - 2.0 * mean(x, y, False)


def test_frechet_is_the_published_formula() -> None:
    for rows in ((200, 150), (40, 9), (13, 200)):
        x, y = draw(1, rows[0], 8), draw(2, rows[1], 8, scale=1.4, shift=0.3)
        assert frechet_distance(x, y).value == pytest.approx(frechet_by_scipy(x, y), rel=1e-9)
        assert frechet_distance(y, x).value == pytest.approx(
            frechet_distance(x, y).value, rel=1e-10
        )


def test_frechet_of_fewer_images_than_features() -> None:
    """Through the eigenvalues of S1^(1/2) S2 S1^(1/2), whose rank is far below their size."""
    x, y = draw(1, 20, 60), draw(2, 90, 60, scale=1.2)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    half = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    inner = np.linalg.eigvalsh(half @ np.cov(y.T) @ half)
    apart = x.mean(0) - y.mean(0)
    expected = apart @ apart + np.trace(np.cov(x.T) + np.cov(y.T))
    expected -= 2.0 * np.sqrt(np.maximum(inner, 0.0)).sum()
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(x, x).value == pytest.approx(0.0, abs=1e-12)
    tall = draw(3, 200, 60)
    assert frechet_distance(tall, tall[::-1]).value == pytest.approx(0.0, abs=1e-12)


def test_frechet_of_known_gaussians() -> None:
    """One dimension: (m1 - m2)^2 + (s1 - s2)^2, exactly, whatever the images are."""
    x, y = draw(1, 30, 1), draw(2, 50, 1, scale=3.0, shift=2.0)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-10)


def test_constant_features_do_no_harm() -> None:
    """Such as units that no image excites."""
    x, y = draw(1, 40, 5), draw(2, 40, 5, shift=1.0)
    first, second = (np.hstack([rows, np.full((40, 3), 2.0)]) for rows in (x, y))
    assert frechet_distance(first, second).value == pytest.approx(
        frechet_distance(x, y).value, rel=1e-9
    )
    same = frechet_distance(np.ones((5, 3)), np.ones((4, 3)))
    assert (same.value, same.error) == (0.0, 0.0)


def test_kernel_is_the_sum_over_pairs() -> None:
    x, y = draw(1, 17, 6), draw(2, 23, 6, scale=1.3, shift=0.2)
    assert kernel_distance(x, y).value == pytest.approx(kernel_by_pairs(x, y), rel=1e-10)


def test_kernel_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(1, 40, 6), draw(2, 31, 6, shift=0.2)
    whole = kernel_distance(x, y)
    monkeypatch.setattr("artfp.metrics.frechet_kernel._BLOCK", 100)
    parts = kernel_distance(x, y)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert parts.error == pytest.approx(whole.error, rel=1e-9)


def test_kernel_error_is_the_jackknife() -> None:
    """Each image left out in turn, the estimate made anew."""
    x, y = draw(1, 9, 4), draw(2, 12, 4, shift=0.5)
    variance = 0.0
    sides: list[tuple[Array, Callable[[Array], float]]] = [
        (x, lambda r: kernel_by_pairs(r, y)),
        (y, lambda r: kernel_by_pairs(x, r)),
    ]
    for rows, of in sides:
        left = np.array([of(np.delete(rows, i, axis=0)) for i in range(len(rows))])
        variance += (len(rows) - 1) / len(rows) * ((left - left.mean()) ** 2).sum()
    assert kernel_distance(x, y).error == pytest.approx(np.sqrt(variance), rel=1e-9)


@pytest.mark.parametrize("width", [3, 300])
def test_frechet_error_is_the_derivative(width: int) -> None:
    """Close to leaving out each of many images in turn, for fewer features than images and more."""
    x, y = draw(1, 150, width), draw(2, 120, width, scale=1.5, shift=0.5)
    variance = 0.0
    sides: list[tuple[Array, Callable[[Array], float]]] = [
        (x, lambda r: frechet_distance(r, y).value),
        (y, lambda r: frechet_distance(x, r).value),
    ]
    for rows, of in sides:
        step = 1 if width == 3 else 5
        kept = range(0, len(rows), step)
        left = np.array([of(np.delete(rows, i, axis=0)) for i in kept])
        variance += (len(rows) - 1) * left.var(ddof=1)
    tolerance = 0.05 if width == 3 else 0.25
    assert frechet_distance(x, y).error == pytest.approx(np.sqrt(variance), rel=tolerance)


def test_comparison_holds_what_the_parts_say() -> None:
    real, a, b = draw(1, 80, 6), draw(2, 60, 6, shift=0.6), draw(3, 60, 6, scale=1.2, shift=0.5)
    found = compare_distances(real, a, b, confidence=0.9)
    assert found.limit is not None
    for versus, function in (
        (found.frechet, frechet_distance),
        (found.kernel, kernel_distance),
        (found.limit, frechet_distance_limit),
    ):
        assert versus.a == function(real, a, 0.9) and versus.b == function(real, b, 0.9)
        assert versus.difference.value == pytest.approx(versus.a.value - versus.b.value)
        assert versus.ratio is not None and versus.ratio.low < versus.ratio.value
        assert versus.ratio.value == pytest.approx(versus.a.value / versus.b.value)
    assert compare_distances(real, a, a).frechet.difference.value == 0.0
    assert (
        compare_distances(real, b, a).frechet.difference.value
        == -compare_distances(real, a, b).frechet.difference.value
    )


def test_what_two_distances_share_cancels() -> None:
    """With few real images they are most of the error of a distance and none of a difference."""
    real, a, b = draw(1, 40, 3), draw(2, 4000, 3, shift=0.7), draw(3, 4000, 3, shift=0.7)
    found = compare_distances(real, a, b)
    for versus in (found.frechet, found.kernel):
        assert versus.difference.error < 0.5 * versus.a.error


def test_unequal_numbers_are_made_equal_for_frechet() -> None:
    real, a, b = draw(1, 90, 5), draw(2, 100, 5), draw(3, 50, 5)
    found = compare_distances(real, a, b)
    assert found.frechet.a == frechet_distance(real, a[::2])
    assert found.kernel.a == kernel_distance(real, a)


def test_no_ratio_to_a_distance_that_may_be_none() -> None:
    real, a, b = draw(1, 60, 4), draw(2, 60, 4, shift=1.0), draw(3, 60, 4)
    assert compare_distances(real, a, b).kernel.ratio is None
    assert compare_distances(real, b, a).kernel.ratio is not None


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), "1 images; it takes 2"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "shapes"),
        (np.zeros(5), np.zeros(5), "shapes"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "not finite"),
    ],
)
def test_refused(x: Array, y: Array, match: str) -> None:
    for function in (frechet_distance, kernel_distance, frechet_distance_limit):
        with pytest.raises(ValueError, match=match):
            function(x, y)


def test_refused_numbers() -> None:
    x = draw(1, 20, 6)
    with pytest.raises(ValueError, match=f"takes {6 * MIN_IMAGES_PER_FEATURE} or more"):
        frechet_distance_limit(x, x)
    assert compare_distances(x, x, x).limit is None
    with pytest.raises(ValueError, match="confidence is 1"):
        frechet_distance(x, x, confidence=1.0)


def test_two_images_have_no_kernel_interval() -> None:
    found = kernel_distance(draw(1, 2, 3), draw(2, 9, 3))
    assert np.isfinite(found.value) and np.isnan([found.error, found.low, found.high]).all()


def truth(scale: float, shift: float, width: int) -> tuple[float, float]:
    """Frechet and kernel distance of `draw`'s distribution to that of scale 1 and shift 0.

    E (x.y/d + 1)^3 of independent Gaussians with means m, n and diagonal covariances S, T:
    with u = x.y/d + 1, E u^3 = mu^3 + 3 mu v + k, where the mean mu = m.n/d + 1, the variance
    v = (tr ST + m'Tm + n'Sn)/d^2, and the third cumulant k = 6 m'(TS)n/d^3 (expand x.y in the
    four independent sums).
    """
    s = np.arange(1, width + 1) ** -0.7
    apart = width * shift**2 + (s * (scale - 1.0) ** 2).sum()

    def mean(m: Array, s: Array, n: Array, t: Array) -> float:
        mu, v = m @ n / width + 1.0, (s @ t + m**2 @ t + n**2 @ s) / width**2
        return float(mu**3 + 3.0 * mu * v + 6.0 * (m * s * t) @ n / width**3)

    zero, m, t = np.zeros(width), np.full(width, shift), s * scale**2
    squared = mean(zero, s, zero, s) + mean(m, t, m, t) - 2.0 * mean(zero, s, m, t)
    return float(apart), squared


def covers(found: DistanceEstimate, true: float) -> bool:
    return found.low <= true <= found.high


WIDTH = 4
TRUE_A, TRUE_B = truth(1.25, 0.35, WIDTH), truth(1.1, 0.3, WIDTH)


@pytest.fixture(scope="module")
def studies() -> list[DistanceComparison]:
    """300 studies of Gaussians whose distances are known, at 90%."""
    found = []
    for run in range(300):
        real = draw(3 * run, 150, WIDTH)
        a = draw(3 * run + 1, 150, WIDTH, scale=1.25, shift=0.35)
        b = draw(3 * run + 2, 150, WIDTH, scale=1.1, shift=0.3)
        found.append(compare_distances(real, a, b, 0.9))
    return found


@pytest.mark.parametrize("which", ["kernel", "limit"])
@pytest.mark.parametrize("what", ["a", "b", "difference", "ratio"])
def test_intervals_hold_the_truth(studies: list[DistanceComparison], which: str, what: str) -> None:
    """They miss in 10% of the studies; of intervals a third too narrow 73% would hold it.

    No ratio says nothing, and so is never wrong.
    """
    true_a, true_b = (each[which == "kernel"] for each in (TRUE_A, TRUE_B))
    true = {"a": true_a, "b": true_b, "difference": true_a - true_b, "ratio": true_a / true_b}[what]
    found = [getattr(getattr(study, which), what) for study in studies]
    fraction = np.mean([each is None or covers(each, true) for each in found])
    assert 0.84 < fraction < 0.98


@pytest.mark.parametrize("what", ["a", "difference"])
def test_frechet_intervals_hold_the_mean(studies: list[DistanceComparison], what: str) -> None:
    """Bias and all; that of the difference is small beside its error."""
    found = [getattr(study.frechet, what) for study in studies]
    mean = float(np.mean([each.value for each in found]))
    assert 0.84 < np.mean([covers(each, mean) for each in found]) < 0.96
    if what == "difference":
        assert 0.84 < np.mean([covers(each, TRUE_A[0] - TRUE_B[0]) for each in found]) < 0.96
    else:
        assert mean > TRUE_A[0]


@pytest.mark.parametrize("count", [12, 24, 48])
def test_intervals_of_fewer_images_than_features(count: int) -> None:
    """Then they are about what so many images give on average: bias and all, never too narrow."""
    found = []
    for run in range(200):
        drawn = [draw(3 * run + i, count, 24, 1 + 0.1 * i, 0.15 * i) for i in range(3)]
        found.append(compare_distances(drawn[0], drawn[2], drawn[1], 0.9).frechet)
    for name in ("a", "difference"):
        values = [getattr(each, name).value for each in found]
        mean = float(np.mean(values))
        assert np.mean([covers(getattr(each, name), mean) for each in found]) > 0.85
        errors = np.mean([getattr(each, name).error for each in found])
        assert 0.95 < errors / np.std(values) < 1.5


def test_limit_has_no_bias_where_it_is_allowed() -> None:
    """At 4 images a feature most of the estimate is bias; nearly all of it goes away."""
    width, count = 24, 24 * MIN_IMAGES_PER_FEATURE
    pairs = [(draw(2 * i, count, width), draw(2 * i + 1, count, width)) for i in range(200)]
    biased = np.mean([frechet_distance(x, y).value for x, y in pairs])
    limits = [frechet_distance_limit(x, y) for x, y in pairs]
    assert abs(np.mean([each.value for each in limits])) < 0.06 * biased
    assert np.mean([covers(each, 0.0) for each in limits]) > 0.9
