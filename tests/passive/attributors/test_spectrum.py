"""Log spectra and their discriminant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import get_window

from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.discriminants import Discriminants
from artfp.passive.attributors.spectrum import SpectrumLDA, SpectrumOptions, log_spectrum, tile_of
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
    found = log_spectrum(x, tile, taper)
    assert found.dtype == torch.float32 and torch.equal(x, kept)
    for row, image in zip(found.numpy(), x.numpy(), strict=True):
        np.testing.assert_allclose(row, _reference(image, tile, taper), rtol=1e-4, atol=2e-4)


def test_noise_of_any_size_has_its_own_power() -> None:
    """The log power of white noise is -Euler's constant under its variance's on the mean.

    But at the frequencies that are real, which are few.
    """
    for side, taper in ((16, "hann"), (64, "hann"), (16, "none"), (64, "none")):
        x = 0.5 + 0.04 * torch.randn(200, 3, side, side, generator=torch.manual_seed(2))
        found = log_spectrum(x, 16, taper).unflatten(1, (3, -1))[:, :, 20:60].mean().item()
        assert found == pytest.approx(2 * np.log(0.04 * 255) - np.euler_gamma, abs=0.03)


def test_what_has_no_tile_is_refused() -> None:
    for tile, taper in ((10, "hann"), (7, "hann"), (8, "kaiser")):
        with pytest.raises(ValueError, match="tiles of"):
            log_spectrum(torch.rand(1, 3, 8, 9), tile, taper)
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
