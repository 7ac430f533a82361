"""Windowed correlations against loops over windows in float64; figures against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from artfp.core.errors import UserError
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.passive_studies.localisation.windows import (
    best_threshold,
    correlate_windows,
    evaluate_detection,
    window_to_pixel_map,
)


def naive(residual: np.ndarray, print_of: np.ndarray, window: int) -> np.ndarray:
    """Window by window, of (C, H, W) with (C, H, W)."""
    height, width = residual.shape[1:]
    found = np.zeros((height - window + 1, width - window + 1))
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            a, b = (
                x[:, i : i + window, j : j + window].astype(np.float64).ravel()
                for x in (residual, print_of)
            )
            a, b = a - a.mean(), b - b.mean()
            norm = np.sqrt((a @ a) * (b @ b))
            found[i, j] = a @ b / norm if norm > 0 else 0.0
    return found


@pytest.mark.parametrize(("channels", "window"), [(3, 5), (1, 8), (3, 13)])
def test_all_windows_are_the_loop(channels: int, window: int) -> None:
    rng = np.random.default_rng(1)
    residuals = rng.normal(size=(2, channels, 13, 17)).astype(np.float32) * 0.01 + 3.0
    prints = rng.normal(size=(3, channels, 13, 17)).astype(np.float32) * 1e-3
    found = correlate_windows(torch.from_numpy(residuals), torch.from_numpy(prints), window)
    assert found.shape == (2, 3, 14 - window, 18 - window) and found.dtype == torch.float32
    for n in range(2):
        for k in range(3):
            expected = naive(residuals[n], prints[k], window)
            np.testing.assert_allclose(found[n, k].numpy(), expected, atol=2e-6)


def test_one_window_is_the_whole_image() -> None:
    generator = torch.Generator().manual_seed(2)
    residuals, prints = (torch.randn(4, 3, 12, 12, generator=generator) for _ in range(2))
    found = correlate_windows(residuals, prints, 12)
    torch.testing.assert_close(
        found[:, :, 0, 0], correlation(residuals, prints), atol=1e-6, rtol=0.0
    )


def test_constant_windows_have_none() -> None:
    """A loud corner elsewhere in the image leaves rounding behind in running sums."""
    residual = torch.zeros(1, 3, 40, 40)
    residual[..., :8, :8] = 1e4 * torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(3))
    print_of = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(4))
    found = correlate_windows(residual, print_of, 6)[0, 0]
    assert (found[9:] == 0).all() and (found[:, 9:] == 0).all()
    assert (found[:8, :8] != 0).all()


@pytest.mark.parametrize("window", [4, 5])
def test_pixels_have_the_window_around_them(window: int) -> None:
    height, width = 9, 11
    rows = torch.arange(height - window + 1.0)[:, None].expand(-1, width - window + 1)
    columns = torch.arange(width - window + 1.0)[None].expand(height - window + 1, -1)
    found = window_to_pixel_map(torch.stack([rows, columns]), window)
    assert found.shape == (2, height, width)
    for i in range(height):
        for j in range(width):
            top = min(max(i - window // 2, 0), height - window)
            left = min(max(j - window // 2, 0), width - window)
            assert found[:, i, j].tolist() == [top, left]


def test_a_planted_splice_is_found() -> None:
    """The source's noise everywhere but in a square: correlation falls there."""
    rng = np.random.default_rng(5)
    print_of = rng.normal(size=(1, 3, 64, 64))
    residual = 0.3 * print_of + rng.normal(size=(1, 3, 64, 64))
    truth = np.zeros((64, 64), bool)
    truth[20:44, 8:32] = True
    residual[..., truth] = rng.normal(size=(1, 3, truth.sum()))
    maps = correlate_windows(torch.from_numpy(residual), torch.from_numpy(print_of), 13)
    scores = -window_to_pixel_map(maps, 13)[0, 0].numpy().ravel()
    found = evaluate_detection(scores, truth.ravel(), best_threshold(scores, truth.ravel()))
    assert found.auc > 0.97 and found.f1 > 0.85


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    truth = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + truth, 1)  # with ties
    threshold = best_threshold(scores, truth)
    marked = scores >= threshold
    found = evaluate_detection(scores, truth, threshold)
    assert found.auc == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert found.f1 == pytest.approx(metrics.f1_score(truth, marked))
    assert found.precision == pytest.approx(metrics.precision_score(truth, marked))
    assert found.recall == pytest.approx(metrics.recall_score(truth, marked))
    every = [metrics.f1_score(truth, scores >= value) for value in np.unique(scores)]
    assert found.f1 == pytest.approx(max(every))
    nothing = evaluate_detection(scores, truth, scores.max() + 1.0)
    assert (nothing.f1, nothing.precision, nothing.recall) == (0.0, 0.0, 0.0)


def test_refused() -> None:
    x = torch.zeros(1, 3, 16, 16)
    for window in (3, 17):
        with pytest.raises(UserError, match=f"window is {window}; images of 16x16 take 4 to 16"):
            correlate_windows(x, x, window)
    with pytest.raises(UserError, match="expected"):
        correlate_windows(x, x[:, :1], 8)
    with pytest.raises(ValueError, match="no spliced pixel"):
        best_threshold(np.zeros(3), np.zeros(3, bool))
