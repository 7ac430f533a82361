"""The learned denoiser's residual: the network, the shipped weights, and files of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.bundle import (
    WEIGHTS,
    read_card,
)
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.denoiser import Denoiser, load_denoiser, save_denoiser


def random_denoiser(width: int = 4) -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(width)
    for values in network.parameters():
        torch.nn.init.normal_(values, std=0.3)
    return network


@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_shipped_weights_take_more_noise_off_than_a_gaussian_or_the_wavelet(
    photo_crops: Callable[..., Tensor], sigma: float
) -> None:
    x = photo_crops(8, 96, seed=5) / 255.0
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * (sigma / 255)

    def error(text: str) -> Tensor:
        return (noise - load_extractor(text)(x + noise)).square().mean()

    found = error(f"learned:sigma={sigma}")
    assert found < 0.75 * noise.square().mean()
    assert found < 0.95 * error(f"wavelet:sigma={sigma}")
    assert found < 0.9 * min(error(f"gaussian:sigma={s / 10}") for s in range(2, 9))


def test_a_small_sigma_takes_little_off(photo_crops: Callable[..., Tensor]) -> None:
    x = photo_crops(4, 64, seed=6) / 255.0
    for sigma in (0.05, 0.5):
        residual = load_extractor(f"learned:sigma={sigma}")(x)
        assert 0.0 < residual.abs().max() <= 4 * sigma / 255


def test_the_network_is_what_it_says() -> None:
    network = random_denoiser().double()
    plane = np.random.default_rng(0).random((37, 40))
    sigma = 0.1
    high = (plane - ndimage.uniform_filter(plane, 5))[2:-2, 2:-2] / sigma
    maps = [4 * np.arcsinh(high / 4)]
    for layer, step in zip(network.layers, (1, 2, 3, 3, 2, 1), strict=True):
        weight, bias = (each.detach().numpy() for each in layer.parameters())
        spread = np.zeros((*weight.shape[:2], 2 * step + 1, 2 * step + 1))
        spread[..., ::step, ::step] = weight
        sums = [
            sum(ndimage.correlate(one, k) for one, k in zip(maps, kernels, strict=True)) + add
            for kernels, add in zip(spread, bias, strict=True)
        ]
        # Without what knows of a border.
        maps = [np.maximum(each, 0)[step:-step, step:-step] for each in sums]
    last = sums[0][1:-1, 1:-1]
    found = network(torch.from_numpy(plane)[None], torch.tensor([sigma], dtype=torch.float64))
    np.testing.assert_allclose(found[0].detach(), 4 * np.tanh(last / 4) * sigma, atol=1e-10)
    assert found.abs().max() > 1e-3


def test_no_pixel_knows_of_the_border() -> None:
    network = random_denoiser()
    plane = torch.rand(1, 60, 70)
    sigma = torch.tensor([0.02])
    whole = network(plane, sigma)
    assert whole.shape == (1, 60 - 2 * network.margin, 70 - 2 * network.margin)
    torch.testing.assert_close(network(plane[:, 5:, 7:], sigma), whole[:, 5:, 7:])
    # In units of its noise, an image is the same as one of twice the contrast and the noise.
    torch.testing.assert_close(network(2 * plane, 2 * sigma), 2 * whole)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_denoiser(random_denoiser(8), path, {"training": "none"})
    network, card = load_denoiser(path)
    assert (network.width, card["kind"], card["training"]) == (8, "denoiser", "none")
    x = torch.rand(1, 3, 20, 21)
    own = load_extractor(f"learned:weights={path},sigma=3")
    assert load_extractor(own.text).settings == {"sigma": 3.0, "weights": str(path)}
    assert not torch.allclose(own(x), load_extractor("learned:sigma=3")(x))
    torch.testing.assert_close(own(x), load_extractor(own.text)(x))


def test_files_that_hold_no_denoiser_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no denoiser at"):
        load_extractor(f"learned:weights={tmp_path / 'none.safetensors'}")
    encoder = WEIGHTS / "cifar32_encoder.safetensors"
    with pytest.raises(UserError, match="holds no denoiser"):
        load_extractor(f"learned:weights={encoder}")
    broken = tmp_path / "broken.safetensors"
    save_denoiser(Denoiser(8), broken, {"width": 9})
    with pytest.raises(UserError, match="does not fit"):
        load_extractor(f"learned:weights={broken}")
    with pytest.raises(UserError, match="must be over 0"):
        load_extractor("learned:sigma=0")


def test_the_shipped_card_tells_what_was_measured() -> None:
    card = read_card(WEIGHTS / "denoiser.safetensors")
    assert card["measured"]
    for figures in card["measured"].values():
        for sigma in (5, 10):
            figure = figures[f"noise {sigma}"]
            assert figure["learned"] > max(figure["gaussian"], figure["wavelet"])
    assert (WEIGHTS / "denoiser.safetensors").stat().st_size < 300_000
