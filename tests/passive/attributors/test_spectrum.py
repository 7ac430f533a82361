"""Log spectra and their discriminant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import get_window
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.spectrum import (
    Discriminants,
    SpectrumLDA,
    SpectrumOptions,
    tile_of,
    tiled_log_spectrum,
)
from artfp.passive.residuals import load_extractor


def _reference(image: NDArray[np.float64], tile: int, taper: str) -> NDArray[np.float64]:
    """Log spectrum of one image (3, H, W) in [0, 1] by loops, in float64."""
    red, green, blue = image * 255
    opponent = [(red + green + blue) / 3**0.5, (red - blue) / 2**0.5]
    opponent.append((red - 2 * green + blue) / 6**0.5)
    line = get_window("hann", tile) if taper == "hann" else np.ones(tile)
    window, step = np.outer(line, line), tile // 2 if taper == "hann" else tile
    found = []
    for plane in opponent:
        powers = []
        for top in range(0, plane.shape[0] - tile + 1, step):
            for left in range(0, plane.shape[1] - tile + 1, step):
                part = plane[top : top + tile, left : left + tile]
                power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
                powers.append(np.log(power[:, : tile // 2 + 1] / (window**2).sum() + 1 / 12))
        found.append(np.mean(powers, 0).reshape(-1)[1:])
    return np.concatenate(found)


@pytest.mark.parametrize("taper", ["hann", "none"])
@pytest.mark.parametrize(("height", "width", "tile"), [(16, 16, 16), (40, 27, 12)])
def test_log_spectrum(height: int, width: int, tile: int, taper: str) -> None:
    x = torch.rand(3, 3, height, width, dtype=torch.float64, generator=torch.manual_seed(1))
    kept = x.clone()
    found = tiled_log_spectrum(x, tile, taper)
    assert found.dtype == torch.float32 and torch.equal(x, kept)
    for row, image in zip(found.numpy(), x.numpy(), strict=True):
        np.testing.assert_allclose(row, _reference(image, tile, taper), rtol=1e-4, atol=2e-4)


def test_noise_of_any_size_has_its_own_power() -> None:
    """The log power of white noise is -Euler's constant under its variance's on the mean.

    But at the frequencies that are real, which are few.
    """
    for side, taper in ((16, "hann"), (64, "hann"), (16, "none"), (64, "none")):
        x = 0.5 + 0.04 * torch.randn(200, 3, side, side, generator=torch.manual_seed(2))
        found = tiled_log_spectrum(x, 16, taper).unflatten(1, (3, -1))[:, :, 20:60].mean().item()
        assert found == pytest.approx(2 * np.log(0.04 * 255) - np.euler_gamma, abs=0.03)


def test_what_has_no_tile_is_refused() -> None:
    for tile, taper in ((10, "hann"), (7, "hann"), (8, "kaiser")):
        with pytest.raises(ValueError, match="tiles of"):
            tiled_log_spectrum(torch.rand(1, 3, 8, 9), tile, taper)
    assert [tile_of(*size) for size in ((256, 300), (32, 32), (33, 19))] == [32, 32, 18]


@pytest.mark.parametrize("extractor", [None, "gaussian:sigma=1"])
def test_sources_of_other_colours_of_noise_are_told_apart(extractor: str | None) -> None:
    """And images larger than those that it was fitted to as well."""
    generator = torch.Generator().manual_seed(0)

    def images(source: int, count: int, side: int) -> torch.Tensor:
        noise = torch.randn(count, 3, side, side, generator=generator)
        if source:
            noise[..., 1::2, :] *= 0.9  # what an up-sampling by 2 leaves
        return (0.5 + 0.1 * noise).clamp(0, 1)

    options = SpectrumOptions("hann", load_extractor(extractor) if extractor else None)
    x = torch.cat([images(k, 120, 32) for k in (0, 1)])
    labels = np.repeat(np.arange(2), 120)
    empty = SpectrumLDA(("a", "b"), torch.empty(0), torch.empty(0), 16, options)
    fitted = Discriminants(empty.features(x).numpy(), labels, np.zeros_like(labels), 2).fit()
    found = SpectrumLDA(("a", "b"), *fitted, 16, options)
    assert isinstance(found, Attributor)
    for side, least in ((32, 0.75), (64, 0.95)):
        fresh = torch.cat([images(k, 60, side) for k in (0, 1)])
        scores = found.scores(fresh)
        right = (scores.argmax(1).numpy() == np.repeat(np.arange(2), 60)).mean()
        assert right > least, (side, right)
        assert scores.mean(1).abs().max() < 1e-3
    assert options.text == f"{extractor or 'image'}, hann"
    again = SpectrumLDA.load(("a", "b"), found.card(), found.tensors())
    assert torch.equal(again.scores(fresh), scores)
    with pytest.raises(ValueError, match="expected"):
        SpectrumLDA.load(("a", "b", "c"), found.card(), found.tensors())


@pytest.fixture
def features() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Features (240, 12), labels and parts; sources are of different sizes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (30, 90, 60, 60))
    values = rng.standard_normal((240, 12)) @ rng.standard_normal((12, 12))
    values += 5 + rng.standard_normal((4, 12))[labels]
    return values.astype(np.float32), labels, rng.integers(0, 3, 240)


@pytest.mark.parametrize("without", [None, 1])
def test_they_are_those_of_scikit_learn(
    features: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]],
    without: int | None,
) -> None:
    """With the covariance given: scikit-learn shrinks each class by itself, we the pooled one."""
    values, labels, parts = features
    means = np.stack([values[labels == k].mean(0) for k in range(4)])
    rows = values - means[labels]
    scale = np.sqrt((rows.astype(np.float64) ** 2).mean(0))
    shrinkage = LedoitWolf(assume_centered=True).fit(rows / scale).shrinkage_
    kept = parts != (-1 if without is None else without)
    own = np.stack([values[kept & (labels == k)].mean(0) for k in range(4)])
    within = ((values - own[labels])[kept] / scale).astype(np.float64)
    covariance = within.T @ within / kept.sum()
    target = np.eye(12) * np.trace(covariance) / 12
    pooled = ((1 - shrinkage) * covariance + shrinkage * target) * np.outer(scale, scale)

    class Given(LedoitWolf):  # type: ignore[misc, unused-ignore]
        def fit(self, X: object, y: object = None) -> Given:
            self.covariance_ = pooled
            return self

    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Given(), priors=[0.25] * 4
    ).fit(values[kept], labels[kept])
    expected = theirs.decision_function(values[:50])
    weights, bias = Discriminants(values, labels, parts, 4).fit(without)
    found = values[:50] @ weights.numpy() + bias.numpy()
    np.testing.assert_allclose(found, expected - expected.mean(1)[:, None], rtol=1e-3, atol=2e-3)
    assert np.abs(found.mean(1)).max() < 1e-3


def test_features_without_variance_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, 5)).astype(np.float32)
    features[:, 2] = 3.0
    labels = np.repeat(np.arange(2), 40)
    features[labels == 1, 0] += 3
    weights, bias = Discriminants(features, labels, np.zeros(80, np.int64), 2).fit()
    found = (features @ weights.numpy() + bias.numpy()).argmax(1)
    assert (found == labels).mean() > 0.85


def test_a_source_that_is_left_out_whole() -> None:
    labels = np.repeat(np.arange(2), 10)
    found = Discriminants(np.ones((20, 3), np.float32), labels, labels, 2)
    with pytest.raises(ValueError, match=r"\[10, 0\]"):
        found.fit(without=1)
