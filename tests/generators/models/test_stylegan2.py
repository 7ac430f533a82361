"""StyleGAN2: demodulation, filters, styles, skips and lazy penalties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import convolve2d
from torch import Tensor, nn

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.stylegan2 import StyleGAN2, StyleGAN2Generator, path_lengths
from artfp.generators.models.stylegan2_layers import (
    BlurredDownConv,
    ModulatedConv,
    enlarge_bilinear,
    stylegan2_widths,
)
from artfp.nn.random_inputs import RandomInputs

LINE = np.array([1.0, 3.0, 3.0, 1.0]) / 8.0
FILTER = np.outer(LINE, LINE)


def tiny(side: int = 16, seed: int = 1) -> StyleGAN2:
    model = build_model(
        "stylegan2",
        side,
        seed=seed,
        changes={"channel_max": 8, "latent_dim": 6, "mapping_depth": 2},
    )
    assert isinstance(model, StyleGAN2)
    return model


def rng(count: int = 4, seed: int = 3) -> RandomInputs:
    return RandomInputs(torch.Generator().manual_seed(seed), count)


def demodulated(conv: ModulatedConv, w: Tensor) -> Tensor:
    """The filters (outputs, inputs, side, side) of one image, by equations 1 to 3."""
    scales = F.linear(w, conv.scales.weight * conv.scales.scale, conv.scales.bias)
    filters = conv.raw * scales[None, :, None, None]
    return filters / filters.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()


@pytest.mark.parametrize("enlarge", [False, True])
def test_convolutions_have_filters_of_norm_1(enlarge: bool) -> None:
    """As a convolution of each image with its own demodulated filters, whatever the style."""
    torch.manual_seed(0)
    conv = ModulatedConv(5, 4, 6, enlarge=enlarge).double()
    x = torch.randn(3, 5, 6, 6, dtype=torch.float64)
    w = 3.0 * torch.randn(3, 6, dtype=torch.float64)
    with torch.no_grad():
        found = conv(x, w)
        own = conv.weight() * conv.scales(w)[:, None, :, None, None]
        unit = own / conv.norms(conv.scales(w))[:, :, None, None, None]
    norms = np.linalg.norm(unit.numpy().reshape(3, 4, -1), axis=2)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-6)
    for image in range(3):
        filters = demodulated(conv, w[image]).detach()
        if enlarge:
            wide = F.conv_transpose2d(x[image : image + 1], filters.transpose(0, 1), stride=2)
            maps = [4.0 * convolve2d(m.numpy(), FILTER)[2:-2, 2:-2] for m in wide[0]]
            expected = np.stack(maps)
        else:
            expected = F.conv2d(x[image : image + 1], filters, padding=1)[0].numpy()
        assert expected.shape == ((4, 12, 12) if enlarge else (4, 6, 6))
        np.testing.assert_allclose(found[image].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_colours_are_not_demodulated() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv(5, 3, 6, side=1, demodulate=False)
    x, w = torch.randn(2, 5, 4, 4), torch.randn(2, 6)
    with torch.no_grad():
        scaled = x * conv.scales(w)[:, :, None, None]
        expected = torch.einsum("oi,nihw->nohw", conv.raw[:, :, 0, 0] / 5**0.5, scaled)
        torch.testing.assert_close(conv(x, w), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", [1, 3])
def test_halving_filters_first(side: int) -> None:
    torch.manual_seed(0)
    layer = BlurredDownConv(1, 1, side).double()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    smooth = convolve2d(x[0, 0].numpy(), FILTER)  # 11 x 11, of which 9 or 7 are used
    smooth = smooth[1:-1, 1:-1] if side == 3 else smooth[2:-2, 2:-2]
    weight = layer.weight.detach().numpy()[0, 0] * layer.scale
    expected = convolve2d(smooth, weight[::-1, ::-1], "valid")[::2, ::2]
    found = layer(x).detach().numpy()[0, 0]
    assert found.shape == (4, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_images_are_enlarged_by_the_same_filter() -> None:
    y = torch.randn(1, 1, 5, 5, dtype=torch.float64)
    edged = np.pad(y[0, 0].numpy(), 2, mode="edge")
    sparse = np.zeros((18, 18))
    sparse[::2, ::2] = edged
    expected = 4.0 * convolve2d(sparse, FILTER)[5:15, 5:15]
    np.testing.assert_allclose(enlarge_bilinear(y)[0, 0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_path_lengths_of_a_linear_generator() -> None:
    """For y = A w they are the norms of A^T noise, averaged over styles and pixels."""
    torch.manual_seed(0)
    a = torch.randn(3 * 16, 2 * 5, dtype=torch.float64)
    w = torch.randn(4, 2, 5, dtype=torch.float64, requires_grad=True)
    y = (w.flatten(1) @ a.T).reshape(4, 3, 4, 4)
    noise = torch.randn(4, 3, 4, 4, dtype=torch.float64)
    moved = (noise.flatten(1).numpy() @ a.numpy()).reshape(4, 2, 5)
    expected = np.sqrt((moved**2).sum(axis=2).mean(axis=1) / 16)
    np.testing.assert_allclose(path_lengths(y, w, noise).detach().numpy(), expected, rtol=1e-9)


def test_path_penalty_against_differences() -> None:
    """Each number of J^T noise is a slope of y . noise, here from two images nearby."""
    model = tiny()
    generator, exact = model.generator, tiny().double().generator.synthesis
    again = rng()
    with torch.no_grad():
        w = generator.styles(again, model.config.mixing_probability)[:2].double()
        noise = [n[:2].double() for n in generator.noise(again)]
        direction = again.normal(3, 16, 16)[:2].double()
        slopes = torch.empty_like(w)
        for style in range(w.shape[1]):
            for number in range(w.shape[2]):
                step = torch.zeros_like(w)
                step[:, style, number] = 1e-5
                moved = exact(w + step, noise) - exact(w - step, noise)
                slopes[:, style, number] = (moved * direction).sum(dim=(1, 2, 3)) / 2e-5
    lengths = np.sqrt((slopes.numpy() ** 2).sum(axis=2).mean(axis=1) / 256)
    mean = lengths.mean() * 0.01  # the running mean begins at 0
    penalty, described = model._path_penalty(rng())
    assert float(described) == pytest.approx(mean, rel=1e-3) and float(model.path_mean) == float(
        described
    )
    penalty.backward()
    assert float(penalty.detach()) == pytest.approx(np.mean((lengths - mean) ** 2), rel=1e-3)
    assert all(p.grad is not None for p in generator.mapping.parameters())


def test_the_path_penalty_in_half_precision() -> None:
    """Its squares and its running mean stay in single precision."""
    exact, half = tiny(), tiny()
    expected, _ = exact._path_penalty(rng())
    with torch.autocast("cpu", torch.bfloat16):
        found, mean = half._path_penalty(rng())
    assert found.dtype == mean.dtype == torch.float32
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=0.05)


def test_an_image_is_the_sum_of_its_sides() -> None:
    torch.manual_seed(0)
    synthesis = tiny(32).generator.synthesis
    parts: list[Tensor] = []
    for image in synthesis.images:
        image.register_forward_hook(lambda _m, _i, y: parts.append(y))
    sides = [4, 8, 8, 16, 16, 32, 32]
    assert synthesis.sides == sides and synthesis.styles == 8
    with torch.no_grad():
        y = synthesis(torch.randn(2, 8, 6), [torch.randn(2, 1, side, side) for side in sides])
    assert [p.shape[2] for p in parts] == [4, 8, 16, 32] and y.shape == (2, 3, 32, 32)
    total = parts[0]
    for part in parts[1:]:
        total = nn.Upsample(scale_factor=2, mode="bilinear")(total) + part
    torch.testing.assert_close(y, total, atol=1e-4, rtol=1e-4)


def test_styles_meet_where_they_are_mixed() -> None:
    model = tiny(32)
    generator = model.generator
    assert isinstance(generator, StyleGAN2Generator)
    with torch.no_grad():
        plain = generator.styles(rng(200))
        mixed = generator.styles(rng(200), 1.0)
        half = generator.styles(rng(200), 0.5)
    assert plain.shape == (200, 8, 6) and torch.equal(plain, plain[:, :1].expand(-1, 8, -1))
    same = (mixed == plain).all(dim=2)
    assert same[:, 0].all() and not same[:, -1].any()
    cuts = same.sum(dim=1)
    assert (same.int().diff(dim=1) <= 0).all() and set(cuts.tolist()) == set(range(1, 8))
    other = torch.where(same[:, :, None], torch.nan, mixed)
    spread = np.nanmax(other.numpy(), axis=1) - np.nanmin(other.numpy(), axis=1)
    assert spread.max() == 0.0  # the second style is one
    fraction = (half == plain).all(dim=2).all(dim=1).float().mean()
    assert 0.35 < float(fraction) < 0.65


def test_noise_enters_by_learned_strengths() -> None:
    generator = tiny().generator
    torch.manual_seed(0)
    w = torch.randn(2, generator.synthesis.styles, 6)
    with torch.no_grad():
        one, two = (generator.synthesis(w, generator.noise(rng(2, s))) for s in (1, 2))
        assert torch.equal(one, two)  # the strengths begin at 0
        generator.synthesis.layers[1].strength.fill_(0.5)  # type: ignore[operator]
        one, two = (generator.synthesis(w, generator.noise(rng(2, s))) for s in (1, 2))
    assert (one - two).abs().mean() > 0.01


class Linear(nn.Module):
    """A discriminator of known gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(3 * 256) * 0.1)

    def forward(self, y: Tensor) -> Tensor:
        return y.flatten(1) @ self.a


def test_penalties_are_due_every_few_steps() -> None:
    model = tiny()
    torch.manual_seed(0)
    linear = Linear()
    model.discriminator = linear  # type: ignore[assignment]
    a = linear.a.detach()
    x = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        real = ((2 * x - 1).flatten(1) @ a).double().numpy()
        fake = (model.generator(rng(), 0.9).flatten(1) @ a).double().numpy()
    first, second = model.trained_networks()
    apart = np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean()
    for step in range(33):
        loss, scalars = first.loss(DataBatch((x,)), rng(), TrainingStep(step, 40))
        r1 = 0.5 * float(a.double().square().sum()) if step in (0, 16, 32) else 0.0
        assert ("r1" in scalars) == (r1 > 0)
        assert float(loss.detach()) == pytest.approx(apart + 1.0 * 16 * r1, rel=1e-4)
    adversarial = np.logaddexp(0, -fake).mean()
    for step in range(17):
        loss, scalars = second.loss(DataBatch((x,)), rng(), TrainingStep(step, 40))
        due = step in (0, 8, 16)
        assert ("path" in scalars) == due
        expected = adversarial + (2.0 * 8 * float(scalars["path"].detach()) if due else 0.0)
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_the_widths_of_the_paper() -> None:
    assert stylegan2_widths(1024, 32768, 512) == [512] * 5 + [256, 128, 64, 32]
    assert stylegan2_widths(32, 32768, 512) == [512] * 4


def test_a_short_training_nears_the_data(distances: Callable[..., tuple[float, float]]) -> None:
    before, after = distances(
        "stylegan2", 60, channel_max=16, latent_dim=16, mapping_depth=2, lr=5e-3
    )
    assert after < 0.4 * before
