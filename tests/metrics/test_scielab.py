"""S-CIELAB against a form of its own in NumPy, its gradients and its edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2xyz, xyz2lab
from torch import Tensor

from artfp.metrics.scielab import scielab_map, summarise_visibility, visibility

FILTERS = (
    ((0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)),
    ((0.531, 0.0392), (0.330, 0.494)),
    ((0.488, 0.0536), (0.371, 0.386)),
)
TO_OPPONENT = np.array([[0.279, 0.72, -0.107], [-0.449, 0.29, -0.077], [0.086, -0.59, 0.501]])


def reference_lab(image: np.ndarray, pixels_per_degree: float) -> np.ndarray:
    """(H, W, 3) in [0, 1] to CIELAB, filtered at full resolution in float64."""
    opponent = rgb2xyz(image.astype(np.float64)) @ TO_OPPONENT.T
    seen = np.zeros_like(opponent)
    for channel, gaussians in enumerate(FILTERS):
        for weight, spread in gaussians:
            deviation = spread * pixels_per_degree / np.sqrt(2)
            blurred = gaussian_filter(opponent[..., channel], deviation, mode="reflect")
            seen[..., channel] += weight * blurred
        seen[..., channel] /= sum(weight for weight, _ in gaussians)
    return np.asarray(xyz2lab(seen @ np.linalg.inv(TO_OPPONENT).T))


def reference_map(x: np.ndarray, y: np.ndarray, pixels_per_degree: float) -> np.ndarray:
    labs = [reference_lab(image, pixels_per_degree) for image in (x, y)]
    return np.asarray(deltaE_ciede2000(*labs))


@pytest.fixture(scope="module")
def crops(photo_crops: Callable[..., Tensor]) -> Tensor:
    return photo_crops(4, 128, seed=5) / 255.0


def coarse_and_fine(x: Tensor, seed: int = 0) -> Tensor:
    """Add noise of single pixels and of cells of 8 pixels, in colour."""
    generator = torch.Generator().manual_seed(seed)
    cells = [-(-side // 8) for side in x.shape[-2:]]
    coarse = torch.randn((len(x), 3, *cells), generator=generator)
    coarse = torch.nn.functional.interpolate(coarse, x.shape[-2:], mode="bicubic")
    fine = torch.randn(x.shape, generator=generator)
    return (x + 0.015 * coarse + 0.01 * fine).clamp(0, 1)


@pytest.mark.parametrize("pixels_per_degree", [8.0, 20.0, 33.3, 60.0, 150.0])
def test_agrees_with_numpy(crops: Tensor, pixels_per_degree: float) -> None:
    changed = coarse_and_fine(crops)
    found = scielab_map(crops, changed, pixels_per_degree).numpy()
    for image, x, y in zip(found, crops, changed, strict=True):
        wanted = reference_map(
            x.permute(1, 2, 0).numpy(), y.permute(1, 2, 0).numpy(), pixels_per_degree
        )
        assert np.corrcoef(image.ravel(), wanted.ravel())[0, 1] > 0.9999
        assert np.abs(image - wanted).mean() < 0.005 * wanted.mean()


@pytest.mark.parametrize("size", [(32, 32), (7, 90), (1, 5), (200, 33)])
@pytest.mark.parametrize("pixels_per_degree", [10.0, 60.0])
def test_any_size(size: tuple[int, int], pixels_per_degree: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((2, 3, *size), generator=generator)
    y = (x + 0.05 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    found = scielab_map(x, y, pixels_per_degree)
    assert found.shape == (2, *size)
    if min(size) >= 32:
        wanted = reference_map(
            x[0].permute(1, 2, 0).numpy(), y[0].permute(1, 2, 0).numpy(), pixels_per_degree
        )
        assert np.abs(found[0].numpy() - wanted).mean() < 0.01 * wanted.mean()


def flat(*colour: float) -> Tensor:
    return torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 24, 24).clone()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (flat(0.5, 0.5, 0.5), flat(0.5, 0.5, 0.5)),
        (flat(0.5, 0.5, 0.5), flat(0.52, 0.5, 0.48)),
        (flat(0.0, 0.0, 0.0), flat(0.0, 0.0, 0.0)),
        (flat(0.0, 0.0, 0.0), flat(1.0, 1.0, 1.0)),
        (flat(1.0, 1.0, 1.0), flat(1.0, 1.0, 1.0)),
        (flat(1.0, 0.0, 0.0), flat(0.0, 1.0, 1.0)),
        (flat(0.5, 0.5, 0.5), flat(-0.01, 1.01, 0.5)),
    ],
)
def test_gradients_are_finite(x: Tensor, y: Tensor) -> None:
    x.requires_grad_()
    y.requires_grad_()
    found = scielab_map(x, y, 60.0)
    found.mean().backward()
    assert found.isfinite().all()
    assert x.grad is not None and y.grad is not None
    assert x.grad.isfinite().all() and y.grad.isfinite().all()
    if torch.equal(x, y):
        assert found.abs().max() < 1e-4
        assert y.grad.abs().max() < 1e-3


@pytest.mark.parametrize("pixels_per_degree", [20.0, 60.0])
def test_gradient_is_the_slope(crops: Tensor, pixels_per_degree: float) -> None:
    """Along random directions, against differences in float32."""
    x, y = crops[:1, :, :48, :40], coarse_and_fine(crops[:1, :, :48, :40], seed=3)
    y = y.clamp(0.1, 0.9).requires_grad_()
    weights = torch.rand(48, 40, generator=torch.Generator().manual_seed(2))

    def loss(image: Tensor) -> Tensor:
        return (scielab_map(x, image, pixels_per_degree) * weights).sum()

    loss(y).backward()
    assert y.grad is not None
    direction = coarse_and_fine(torch.zeros_like(x), seed=4) - coarse_and_fine(x * 0, seed=5)
    step = 0.05
    with torch.no_grad():
        slope = (loss(y + step * direction) - loss(y - step * direction)) / (2 * step)
    assert (y.grad * direction).sum().item() == pytest.approx(slope.item(), rel=0.02)


def test_gradient_of_the_original(crops: Tensor) -> None:
    """The two images are treated alike."""
    x, y = crops[:1], coarse_and_fine(crops[:1])
    x.requires_grad_()
    scielab_map(x, y, 60.0).sum().backward()
    z = crops[:1].clone().requires_grad_()
    scielab_map(y, z, 60.0).sum().backward()
    assert x.grad is not None and z.grad is not None
    torch.testing.assert_close(x.grad, z.grad, rtol=1e-3, atol=1e-3)


def test_images_stand_alone_and_precision_is_float32(crops: Tensor) -> None:
    changed = coarse_and_fine(crops)
    together = scielab_map(crops, changed, 60.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        alone = scielab_map(crops[1:2], changed[1:2], 60.0)
    assert alone.dtype == torch.float32
    torch.testing.assert_close(alone[0], together[1], rtol=1e-3, atol=1e-3)


def test_filters_of_inference_serve_training(crops: Tensor) -> None:
    with torch.inference_mode():
        scielab_map(crops, crops, 41.0)
    y = coarse_and_fine(crops).requires_grad_()
    scielab_map(crops, y, 41.0).mean().backward()
    assert y.grad is not None


def test_coarse_is_more_visible_than_fine_at_one_psnr() -> None:
    x = torch.full((1, 3, 128, 128), 0.5)
    sign = torch.ones(128)
    fine, coarse = sign.clone(), sign.clone()
    fine[1::2] = -1
    coarse[(torch.arange(128) // 16) % 2 == 1] = -1
    p95 = [visibility(x, x + 0.02 * wave, 60.0).p95.item() for wave in (fine, coarse)]
    assert p95[1] > 4 * p95[0]


def test_summary() -> None:
    difference = torch.arange(200.0).view(2, 10, 10)
    found = summarise_visibility(difference)
    assert found.p95.tolist() == [94.0, 194.0]
    assert found.share.tolist() == pytest.approx([0.97, 1.0])


def test_refuses_unlike_images() -> None:
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="shapes"):
        scielab_map(x, x[..., :7], 60.0)
    with pytest.raises(ValueError, match="degree"):
        scielab_map(x, x, 0.0)
