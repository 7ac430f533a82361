"""Chains: which steps are taken, how strong, in which order, and what they move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.perturbations import Combination, Jpeg, RandomCrop, Relight, ResizeBack, Screenshot, warp
from artfp.perturbations.chains import OneStep, kernel_deviation

Seeded = Callable[..., torch.Generator]


class Unblurred(Combination):
    """Only the steps that keep the ratios of colours."""

    STEPS = Combination.STEPS[:2]


class Cropped(Combination):
    """Only the crop."""

    STEPS = Combination.STEPS[1:2]


def test_kernel_deviation_is_opencvs() -> None:
    """getGaussianKernel: sigma = 0.3 ((ksize - 1) 0.5 - 1) + 0.8; a kernel of one does nothing."""
    got = kernel_deviation(torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0]))
    torch.testing.assert_close(got[1:], torch.tensor([0.8, 1.1, 1.4, 1.7]))
    assert got[0] < 0.1


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_combination_plans_by_the_published_ranges(strength: float, seeded: Seeded) -> None:
    count = 4000
    plan = Combination()._plan(torch.full((count,), strength), seeded(1))
    names = [step.perturbation.name for step in plan]
    assert names == ["relight", "random_crop", "blur", "jpeg", "noise"]
    taken = torch.zeros(count, 5, dtype=torch.bool)
    ends = {
        "relight": (0.0, 1.0),
        "random_crop": (0.05, 0.2),
        "jpeg": (75.0, 10.0),
        "noise": (5 / 255, 20 / 255),
    }
    for number, step in enumerate(plan):
        assert len(step.where) == len(step.strength) == len(step.where.unique())
        taken[step.where, number] = True
        assert abs(len(step.where) / count - 0.5) < 4.5 * 0.5 / count**0.5
        if names[number] == "blur":
            kernels = torch.tensor([0.05, 0.8, 1.1, 1.4, 1.7])[: 1 + round(4 * strength)]
            distances = (step.strength[:, None] - kernels).abs()
            assert distances.amin(dim=1).max() < 1e-5
            assert set(distances.argmin(dim=1).tolist()) == set(range(len(kernels)))
            continue
        mild, harsh = ends[names[number]]
        harsh = mild + strength * (harsh - mild)
        low, high = sorted((mild, harsh))
        assert low - 1e-5 <= step.strength.min() and step.strength.max() <= high + 1e-5
        assert step.strength.max() - step.strength.min() > 0.98 * (high - low)
        assert float(step.strength.mean()) == pytest.approx((low + high) / 2, rel=0.03)
    agree = torch.corrcoef(taken.T.float())[~torch.eye(5, dtype=torch.bool)]
    assert agree.abs().max() < 4.5 / count**0.5  # each step by a coin of its own


def test_combination_of_strengths(seeded: Seeded) -> None:
    """Each image by its own strength; all of them by the same coins."""
    mixed = Combination()._plan(torch.tensor([0.2, 1.0] * 50), seeded(1))
    full = Combination()._plan(torch.ones(100), seeded(1))
    for one, other in zip(mixed, full, strict=True):
        assert torch.equal(one.where, other.where)
        odd = one.where % 2 == 1
        assert torch.equal(one.strength[odd], other.strength[odd])
        assert not torch.equal(one.strength, other.strength)


@pytest.mark.parametrize("size", [(64, 64), (61, 45)])
@pytest.mark.parametrize("kind", [Unblurred, Cropped, Combination])
def test_soft_and_true_follow_one_plan(
    kind: type[Combination],
    size: tuple[int, int],
    photo_crops: Callable[..., Tensor],
    seeded: Seeded,
) -> None:
    """Image by image: another plan, or other noise, would share nothing with the change."""
    pixels = photo_crops(24, 64, seed=6)[..., : size[0], : size[1]].contiguous()
    x = to_unit(pixels)
    soft = kind().differentiable(x, torch.ones(24), seeded(8))
    true = to_unit(kind().real(pixels, 1.0, seeded(8)))
    missed = (soft - true).square().mean(dim=(1, 2, 3))
    changed = (true - x).square().mean(dim=(1, 2, 3))
    rounding = 2 / 12 / 255**2  # of two steps
    assert (missed < 0.1 * changed + rounding).all()
    other = kind().differentiable(x, torch.ones(24), seeded(9))
    assert (other - soft).square().mean() > (soft - true).square().mean() * 5


def test_combination_takes_its_steps_in_order(x: Tensor, seeded: Seeded) -> None:
    """Against each step by itself, on the images that it is for."""
    got = Combination().differentiable(x, torch.ones(4), seeded(3))
    expected = x.clone()
    for step in Combination()._plan(torch.ones(4), seeded(3)):
        some = expected[step.where]
        expected[step.where] = step.perturbation.differentiable(some, step.strength, step.generator)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_transform_is_that_of_the_crop_which_soft_did(
    size: tuple[int, int], ramps: Callable[[int, int], Tensor], seeded: Seeded
) -> None:
    """Red and green over blue tell where a pixel came from, however it was relit."""
    x = (ramps(*size) * 0.4).expand(12, -1, -1, -1)  # so dark that nothing clips
    strength = torch.ones(12)
    received = Unblurred().differentiable(x, strength, seeded(2))
    moved = Unblurred().transform(strength, size, seeded(2))
    torch.testing.assert_close(moved, Combination().transform(strength, size, seeded(2)))
    ratios = received / received[:, 2:]
    expected = warp.warp(x / x[:, 2:], moved)
    inside = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(ratios[inside], expected[inside], rtol=0, atol=2e-3)
    still = (moved == torch.eye(3)).all(dim=2).all(dim=1)
    assert 0 < still.sum() < 12
    wrong = (ratios[~still] - (x / x[:, 2:])[~still])[inside].abs().amax(dim=(1, 2, 3))
    assert (wrong > 0.05).all()


def test_realign_brings_a_combination_back(
    ramps: Callable[[int, int], Tensor], seeded: Seeded
) -> None:
    x = ramps(64, 64).expand(12, -1, -1, -1)
    received = Cropped().differentiable(x, torch.ones(12), seeded(4))
    moved = Cropped().transform(torch.ones(12), (64, 64), seeded(4))
    back = warp.realign(received, moved)
    # At the worst 13 pixels of a side are gone, and cubic kernels reach 2 more.
    inside = (..., slice(15, -15), slice(15, -15))
    torch.testing.assert_close(back[inside], x[inside], rtol=0, atol=2e-3)
    assert (received - x)[inside].abs().max() > 0.02


def test_combination_leaves_its_input_alone_and_can_do_nothing(
    pixels: Tensor, seeded: Seeded
) -> None:
    kept = pixels.clone()

    class Nothing(Combination):
        STEPS = ()

    assert torch.equal(Nothing().real(pixels, 1.0, seeded()), pixels)
    Combination().real(pixels, 1.0, seeded())
    assert torch.equal(pixels, kept)
    one = to_unit(pixels[:1])
    for seed in range(12):  # a step without any image is no error
        Combination().differentiable(one, torch.ones(1), seeded(seed))
        Combination().transform(torch.ones(1), (64, 64), seeded(seed))


@pytest.mark.parametrize("harshness", [0.25, 1.0])
def test_screenshot_is_resize_jpeg_resize(
    harshness: float, pixels: Tensor, x: Tensor, seeded: Seeded
) -> None:
    generator = seeded()
    expected = ResizeBack().real(pixels, 1 - 0.4 * harshness, generator)
    expected = Jpeg().real(expected, 95 - 45 * harshness, generator)
    expected = ResizeBack().real(expected, 1 - 0.2 * harshness, generator)
    assert torch.equal(Screenshot().real(pixels, harshness, seeded()), expected)
    mixed = torch.tensor([0.2, 0.6, 0.2, 0.6]) * harshness
    mean = torch.full((4,), 0.4 * harshness)
    soft = ResizeBack().differentiable(x, 1 - 0.4 * mean, generator)
    soft = Jpeg().differentiable(soft, 95 - 45 * mixed, generator)  # quality is each image's own
    soft = ResizeBack().differentiable(soft, 1 - 0.2 * mean, generator)
    torch.testing.assert_close(Screenshot().differentiable(x, mixed, seeded()), soft)


def test_steps_are_the_published_ones() -> None:
    assert [type(step) for step, _, _ in Combination.STEPS[:2]] == [Relight, RandomCrop]


@pytest.mark.parametrize("name", [step[0].name for step in Combination.STEPS])
def test_one_step_is_on_every_image(name: str, seeded: Seeded) -> None:
    (step,) = OneStep(name)._plan(torch.ones(3000), seeded(2))
    mild, harsh = next(ends for one, *ends in Combination.STEPS if one.name == name)
    assert step.perturbation.name == name and len(step.where) == 3000
    if name == "blur":
        counts = torch.unique(step.strength, return_counts=True)[1]
        assert len(counts) == 5 and bool((abs(counts - 600) < 100).all())
    else:
        low, high = sorted((mild, harsh))
        share = ((step.strength - low) / (high - low)).sort().values
        assert float(abs(share - torch.linspace(0, 1, 3000)).max()) < 0.04


def test_one_step_of_another_name() -> None:
    with pytest.raises(ValueError, match="no step 'webp'"):
        OneStep("webp")
