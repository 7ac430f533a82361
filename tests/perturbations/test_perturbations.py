"""Properties of every perturbation: attributes, draws, differentiable form beside the real one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.perturbations import Perturbation
from artfp.perturbations.registry import PERTURBATIONS

Seeded = Callable[..., torch.Generator]

ALL = [pytest.param(each, id=name) for name, each in PERTURBATIONS.items()]

UNEXPLAINED = {
    "jpeg": 0.1,
    "screenshot": 0.1,
    "super_resolution": 0.1,
    "combination": 0.02,
    "resize": 0.02,
    "centre_crop": 0.005,
    "random_crop": 0.005,
    "rotation": 0.005,
}
"""Fraction of the changed energy by which the differentiable form may miss the real operation.

JPEG: libjpeg's integer arithmetic rounds some coefficients the other way; the milder the quality,
the more that is of the little that changes. Resampling: bicubic with a = -0.75 (torch) against
-0.5 (Pillow). All others are pixel operations, equal up to the rounding to 8 bits.
"""

MEAN_ONLY = ("resize", "screenshot")
"""These say that they resize a whole batch by one share, the mean of the strengths."""


def strengths_of(perturbation: Perturbation) -> list[float]:
    """The ends of the range and the levels."""
    return sorted({perturbation.mildest, perturbation.harshest, *perturbation.levels})


def test_names() -> None:
    assert len(PERTURBATIONS) == 22
    for name, perturbation in PERTURBATIONS.items():
        assert perturbation.name == name and name.isidentifier()


@pytest.mark.parametrize("perturbation", ALL)
def test_card_is_complete(perturbation: Perturbation) -> None:
    assert perturbation.unit and perturbation.source and perturbation.levels
    assert type(perturbation).__doc__
    assert len(set(perturbation.levels)) == len(perturbation.levels)
    distances = [level - perturbation.mildest for level in perturbation.levels]
    if perturbation.both_ways:
        sides = [[-d for d in distances if d < 0], [d for d in distances if d > 0]]
    else:
        direction = 1.0 if perturbation.harshest >= perturbation.mildest else -1.0
        sides = [[direction * d for d in distances]]
    for side in sides:  # from mild to harsh
        assert side == sorted(side) and min(side, default=0.0) >= 0.0
    assert sum(map(len, sides)) == len(perturbation.levels)  # a level that does nothing is none


@pytest.mark.parametrize("reach", [1.0, 0.4])
@pytest.mark.parametrize("perturbation", ALL)
def test_draws_lie_in_the_range_and_replay(
    perturbation: Perturbation, reach: float, seeded: Seeded
) -> None:
    drawn = perturbation.draw(2000, seeded(1), reach)
    mild = perturbation.mildest
    end = mild + reach * (perturbation.harshest - mild)
    low, high = sorted((2 * mild - end if perturbation.both_ways else mild, end))
    assert drawn.shape == (2000,)
    assert low - 1e-5 <= drawn.min() and drawn.max() <= high + 1e-5
    assert drawn.max() - drawn.min() >= 0.98 * (high - low)
    assert abs(float(drawn.mean()) - (low + high) / 2) <= 0.05 * (high - low) + 1e-6
    assert torch.equal(drawn, perturbation.draw(2000, seeded(1), reach))


@pytest.mark.parametrize("size", [(64, 64), (50, 33)])
@pytest.mark.parametrize("perturbation", ALL)
def test_same_strength_and_generator_same_result(
    perturbation: Perturbation, size: tuple[int, int], pixels: Tensor, seeded: Seeded
) -> None:
    pixels = pixels[..., : size[0], : size[1]].contiguous()
    x = to_unit(pixels)
    strength = perturbation.draw(len(x), seeded(3))
    kept, kept_strength, kept_pixels = x.clone(), strength.clone(), pixels.clone()
    one = perturbation.differentiable(x, strength, seeded(4))
    assert torch.equal(one, perturbation.differentiable(x, strength, seeded(4)))
    assert one.shape == x.shape and one.dtype == x.dtype
    assert one.min() >= -1e-6 and one.max() <= 1 + 1e-6
    assert not torch.equal(one, x)
    harsh = perturbation.harshest
    true = perturbation.real(pixels, harsh, seeded(4))
    assert torch.equal(true, perturbation.real(pixels, harsh, seeded(4)))
    assert true.shape == pixels.shape and true.dtype == torch.uint8
    for value, before in ((x, kept), (strength, kept_strength), (pixels, kept_pixels)):
        assert torch.equal(value, before)


@pytest.mark.parametrize("perturbation", ALL)
def test_each_image_has_its_own_strength(
    perturbation: Perturbation, x: Tensor, seeded: Seeded
) -> None:
    """What happens to an image does not depend on the strengths of its neighbours."""
    if perturbation.mildest == perturbation.harshest:
        return
    one, other = perturbation.harshest, (perturbation.mildest + perturbation.harshest) / 2
    mixed = torch.tensor([one, other, other, one])
    if perturbation.name == "resize":
        same = torch.full((4,), float(mixed.mean()))
        assert torch.equal(
            perturbation.differentiable(x, mixed, seeded(4)),
            perturbation.differentiable(x, same, seeded(4)),
        )
    if perturbation.name in MEAN_ONLY:
        return
    got = perturbation.differentiable(x, mixed, seeded(4))
    # A Gaussian is cut at three of the widest deviation, beyond which lies 0.3% of each axis.
    tolerance = 0.01 if perturbation.name in ("lowpass", "residual", "blur", "combination") else 0
    for strength in (one, other):
        alone = perturbation.differentiable(x, torch.full((4,), strength), seeded(4))
        where = mixed == strength
        torch.testing.assert_close(got[where], alone[where], rtol=0, atol=tolerance + 1e-6)
        assert (got[~where] - alone[~where]).abs().max() > 2 * tolerance


@pytest.mark.parametrize("perturbation", ALL)
def test_gradients_reach_every_image(perturbation: Perturbation, x: Tensor, seeded: Seeded) -> None:
    """At every strength; on black and white, which clamping may hold, finite at least."""
    plain = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(-1, 3, 64, 64)
    for strength in strengths_of(perturbation):
        images = torch.cat([x.mul(0.8).add(0.1), plain]).requires_grad_()
        out = perturbation.differentiable(images, torch.full((7,), strength), seeded(4))
        (out * torch.randn(out.shape, generator=seeded(5))).sum().backward()
        assert images.grad is not None and torch.isfinite(images.grad).all()
        reached = images.grad.abs().mean(dim=(1, 2, 3))
        assert (reached[[0, 1, 2, 3, 5]] > 0.01).all(), (strength, reached)


@pytest.mark.parametrize("perturbation", ALL)
def test_soft_form_against_the_true_one(
    perturbation: Perturbation, pixels: Tensor, x: Tensor, seeded: Seeded
) -> None:
    for strength in strengths_of(perturbation):
        true = to_unit(perturbation.real(pixels, strength, seeded(6)))
        soft = perturbation.differentiable(x, torch.full((4,), strength), seeded(6))
        if perturbation.name not in UNEXPLAINED:
            assert (true - soft).abs().max() <= 0.5001 / 255, strength
            continue
        kept = torch.ones_like(x, dtype=torch.bool)
        if perturbation.name == "rotation":
            # Pillow leaves a pixel black if its centre comes from outside; torch fades out. What
            # touches the outside is not compared.
            white = torch.full_like(pixels, 255)
            inside = to_unit(perturbation.real(white, strength, seeded(6)))
            kept = -torch.nn.functional.max_pool2d(-inside, 7, 1, 3) > 0.5
        kept[..., :3, :] = kept[..., -3:, :] = kept[..., :3] = kept[..., -3:] = False
        assert kept.float().mean() > 0.5
        missed = (true - soft)[kept].square().mean()
        changed = (true - x)[kept].square().mean()
        assert missed <= UNEXPLAINED[perturbation.name] * changed + 1e-12, strength


@pytest.mark.parametrize("perturbation", ALL)
def test_generator_in_one_state_tells_the_transform(
    perturbation: Perturbation, x: Tensor, seeded: Seeded
) -> None:
    """None or (N, 3, 3) affine maps, of any image size; only crops and turns move pixels."""
    moved = perturbation.transform(torch.full((4,), perturbation.harshest), (64, 48), seeded(7))
    moving = {"centre_crop", "random_crop", "rotation", "combination"}
    assert (moved is not None) == (perturbation.name in moving)
    if moved is not None:
        assert moved.shape == (4, 3, 3)
        assert torch.equal(moved[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(4, -1))
        assert (torch.linalg.det(moved) > 0).all()


def test_a_perturbation_without_forms() -> None:
    with pytest.raises(NotImplementedError):
        Perturbation().differentiable(torch.zeros(1, 3, 8, 8), torch.zeros(1), torch.Generator())


def test_true_form_is_by_default_the_soft_form_rounded(pixels: Tensor, x: Tensor) -> None:
    class Half(Perturbation):
        def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
            return x * strength.view(-1, 1, 1, 1)

    got = Half().real(pixels, 0.5, torch.Generator())
    assert torch.equal(got, to_8bit(x * 0.5))
