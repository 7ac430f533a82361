"""Untrained pairs of both architectures."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.watermark import build_pair
from artfp.watermark.networks.residual import ResidualDecoder, ResidualEncoder, grid_shape

SHAPES = [(8, 32), (256, 32), (64, 64), (256, 64), (8, 128), (100, 128), (256, 128), (64, 256)]
LARGE = [(100, 256), (8, 512), (256, 512)]


@pytest.mark.parametrize("architecture", ["residual", "stegastamp"])
@pytest.mark.parametrize(
    ("bits", "resolution"), SHAPES + [pytest.param(*s, marks=pytest.mark.slow) for s in LARGE]
)
def test_shapes_and_gradients(architecture: str, bits: int, resolution: int) -> None:
    encoder, decoder = build_pair(architecture, bits, resolution, seed=1)
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, resolution, resolution, generator=draws)
    word = torch.randint(0, 2, (2, bits), generator=draws).float()
    residual = encoder.residual(x, word)
    assert residual.shape[:2] == (2, 3)
    assert resolution % residual.shape[2] == 0 and resolution % residual.shape[3] == 0
    marked = encoder(x, word)
    assert marked.shape == x.shape and marked.min() >= 0 and marked.max() <= 1
    assert not torch.equal(marked, x)
    logits = decoder(marked)
    assert logits.shape == (2, bits) and torch.isfinite(logits).all()
    loss = F.binary_cross_entropy_with_logits(logits, word)
    (loss + (marked - x).square().mean()).backward()
    for network in (encoder, decoder):
        gradients = [p.grad for p in network.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


@pytest.mark.parametrize("architecture", ["residual", "stegastamp"])
def test_the_seed_decides_the_weights_and_nothing_else(architecture: str) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    one = build_pair(architecture, 16, 32, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(321)
    two = build_pair(architecture, 16, 32, seed=7)
    other = build_pair(architecture, 16, 32, seed=8)
    for network, same, different in zip(one, two, other, strict=True):
        changed = 0
        for name, value in network.state_dict().items():
            assert torch.equal(value, same.state_dict()[name]), name
            changed += not torch.equal(value, different.state_dict()[name])
        assert changed


def test_published_pair_starts_where_signals_pass() -> None:
    """He's start: variance 2 / fan-in, no biases; a fingerprint reaches the logits."""
    pair = build_pair("stegastamp", 64, 32, seed=4)
    for network in pair:
        for name, value in network.state_dict().items():
            if name.endswith("bias"):
                assert not value.any(), name
            else:
                fan_in = value[0].numel()
                error = 4 * math.sqrt(2 / value.numel())  # of a variance, four standard errors
                assert value.var().item() * fan_in / 2 == pytest.approx(1, abs=error), name
    assert _heard(pair) > 0.1
    torch.manual_seed(4)
    for network in pair:
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.reset_parameters()
    assert _heard(pair) < 1e-4, "PyTorch's own start lets next to nothing through"


def _heard(pair: tuple[torch.nn.Module, torch.nn.Module]) -> float:
    """How far another fingerprint moves the logits, in standard deviations of the logits."""
    draws = torch.Generator().manual_seed(5)
    x = torch.rand(8, 3, 32, 32, generator=draws)
    words = torch.randint(0, 2, (2, 8, 64), generator=draws).float()
    with torch.no_grad():
        one, two = (pair[1](pair[0](x, word)) for word in words)
    result: float = ((one - two).std() / one.std()).item()
    return result


def test_unknown_architecture() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'x'; known: residual, stegastamp"):
        build_pair("x", 16, 32)


@pytest.mark.parametrize(
    ("bits", "resolution"), [(8, 32), (100, 32), (64, 64), (100, 128), (256, 128), (100, 512)]
)
def test_untrained_residual_pair_reads_photographs(
    bits: int, resolution: int, photo_crops: Callable[..., Tensor]
) -> None:
    """Through 8-bit pixels; chance is 0.5 with a standard error under 0.02."""
    encoder, decoder = build_pair("residual", bits, resolution, seed=3)
    pixels = photo_crops(16, resolution, seed=2)
    draws = torch.Generator().manual_seed(1)
    word = torch.randint(0, 2, (16, bits), generator=draws).float()
    with torch.no_grad():
        marked = to_8bit(encoder.eval()(to_unit(pixels), word))
        read = decoder.eval()(to_unit(marked)) > 0
        unmarked = decoder(to_unit(pixels)) > 0
    accuracy = (read == (word > 0.5)).float().mean()
    assert accuracy > 0.8
    assert (
        abs(float((unmarked == (word > 0.5)).float().mean()) - 0.5) < 4.5 * 0.5 / (16 * bits) ** 0.5
    )


def test_what_the_decoder_hears_is_what_it_reads(photo_crops: Callable[..., Tensor]) -> None:
    """One matched filter a bit on the estimate of the residual."""
    encoder, decoder = build_pair("residual", 64, 64)
    assert isinstance(encoder, ResidualEncoder) and isinstance(decoder, ResidualDecoder)
    x = to_unit(photo_crops(4, 64))
    with torch.no_grad():
        decoder.bias.normal_(generator=torch.Generator().manual_seed(0))
        grid = decoder.estimate_residual(x)
        assert grid.shape == (4, 3, decoder.cells.side, decoder.cells.side)
        logits = torch.einsum("bk,nk->nb", decoder.carriers.matrix(), grid.flatten(1))
        expected = decoder.log_scale.exp() * logits + decoder.bias
        torch.testing.assert_close(decoder(x), expected, rtol=0, atol=1e-4)
        assert torch.equal(decoder.decode_residual(grid), decoder(x))


def test_a_mirrored_image_decodes_alike(photo_crops: Callable[..., Tensor]) -> None:
    """The whitened image meets mirror-symmetric carriers; untrained, exactly."""
    _, decoder = build_pair("residual", 64, 64)
    x = to_unit(photo_crops(4, 64))
    with torch.no_grad():
        torch.testing.assert_close(decoder(x.flip(-1)), decoder(x), rtol=0, atol=1e-4)
        assert (decoder(x.flip(-2)) - decoder(x)).abs().max() > 0.1  # upside down is not alike


@pytest.mark.parametrize(("bits", "resolution"), [(8, 32), (64, 64), (100, 128), (256, 256)])
def test_carriers_are_orthonormal_and_symmetric(bits: int, resolution: int) -> None:
    encoder, decoder = build_pair("residual", bits, resolution)
    assert isinstance(encoder, ResidualEncoder) and isinstance(decoder, ResidualDecoder)
    matrix = encoder.carriers.matrix().detach()
    side = encoder.cells.side
    assert matrix.shape == (bits, 3 * side * side)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(bits), rtol=0, atol=1e-5)
    patterns = matrix.view(bits, 3, side, side)
    assert torch.equal(patterns, patterns.flip(-1))
    assert torch.equal(matrix, decoder.carriers.matrix())
    assert torch.equal(matrix, encoder.listeners.matrix())
    weights = torch.randn(2, bits)
    combined = encoder.carriers.combine(weights)
    torch.testing.assert_close(
        combined, torch.einsum("nb,bchw->nchw", weights, patterns), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(encoder.carriers.correlate(combined), weights, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("bits", "resolution", "expected"),
    [
        (8, 32, (4, 8)),  # 96 patterns for 8 bits
        (16, 32, (4, 8)),  # 96 = 6 x 16
        (17, 32, (2, 16)),
        (64, 64, (4, 16)),  # 384 = 6 x 64
        (65, 64, (2, 32)),
        (256, 128, (4, 32)),
        (100, 512, (4, 32)),  # larger images are averaged down to 128
    ],
)
def test_grid(bits: int, resolution: int, expected: tuple[int, int]) -> None:
    assert grid_shape(bits, resolution) == expected
    encoder, _ = build_pair("residual", bits, resolution)
    residual = encoder.residual(torch.rand(1, 3, resolution, resolution), torch.ones(1, bits))
    assert residual.shape == (1, 3, expected[1], expected[1])


def test_cells_against_loops(photo_crops: Callable[..., Tensor]) -> None:
    encoder, _ = build_pair("residual", 100, 256)
    assert isinstance(encoder, ResidualEncoder)
    module = encoder.cells
    x = to_unit(photo_crops(1, 256))
    cells = module(x)
    means, activity = module.means(cells), module.activity(cells)
    assert cells.shape == (1, 48, 32, 32) and module.pool == 2
    small = x.double().unflatten(2, (128, 2)).unflatten(4, (128, 2)).mean(dim=(3, 5))
    gray = small.mean(dim=1)
    for row, column in [(1, 1), (5, 17), (30, 30)]:
        block = small[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        torch.testing.assert_close(means[0, :, row, column].double(), block.mean(dim=(1, 2)))
        area = gray[0, 4 * row - 4 : 4 * row + 8, 4 * column - 4 : 4 * column + 8]
        assert math.isclose(float(activity[0, 0, row, column]), float(area.std(unbiased=False)),
                            abs_tol=2e-4)  # fmt: skip


@pytest.mark.parametrize("factor", [0.5, torch.tensor(3.0)])
def test_rescale_multiplies_the_residual(factor: float | Tensor) -> None:
    encoder, _ = build_pair("residual", 16, 32)
    x, word = torch.rand(2, 3, 32, 32), torch.ones(2, 16)
    with torch.no_grad():
        before = encoder.eval().residual(x, word).square().mean().sqrt()
        encoder.rescale(factor)
        after = encoder.residual(x, word).square().mean().sqrt()
    # Nearly: what an image needs to read depends on the strength a little.
    assert float(after / before) == pytest.approx(float(factor), rel=0.05)


def test_stegastamp_has_no_strength_to_set() -> None:
    encoder, _ = build_pair("stegastamp", 16, 32)
    assert not encoder.adjustable
    with pytest.raises(NotImplementedError):
        encoder.rescale(0.5)


def test_levels_keep_the_mean_strength() -> None:
    """Whatever the level layer learns, log-levels average 0 over a batch in training."""
    encoder, _ = build_pair("residual", 16, 32)
    assert isinstance(encoder, ResidualEncoder)
    with torch.no_grad():
        encoder.level.weight.normal_(generator=torch.Generator().manual_seed(0))
        encoder.level.bias.fill_(0.3)
    draws = torch.Generator().manual_seed(1)
    features = torch.rand(6, 32, 8, 8, generator=draws) * torch.arange(6).view(6, 1, 1, 1)
    effort = torch.rand(6, 16, generator=draws)
    with torch.no_grad():
        got = encoder.train()._levels(features, effort)
        assert got.shape == (6, 1, 1, 1) and got.std() > 0.05
        torch.testing.assert_close(got.log().mean(), torch.zeros(()), rtol=0, atol=1e-5)
        for _ in range(1000):
            encoder._levels(features, effort)
        alone = encoder.eval()._levels(features[:1], effort[:1])  # by the mean it remembers
        torch.testing.assert_close(alone, got[:1], rtol=0, atol=1e-3)
