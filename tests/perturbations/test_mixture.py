"""Who is perturbed, by what, and that it can be replayed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from artfp.perturbations import (
    Brightness,
    CentreCrop,
    Combination,
    Erase,
    Jpeg,
    Perturbation,
    RandomCrop,
    Rotation,
    training_mixture,
    warp,
)
from artfp.perturbations.mixture import HOPELESS, LEAST_REACH, MISPLACED, MOVING, TRAINING, Mixture


class Add(Perturbation):
    """Adds its own amount, so that the sum tells who was here; marks the left edge for mirrors."""

    mildest = harshest = 1.0

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        return x + self.amount * strength.view(-1, 1, 1, 1)


AMOUNTS = [1.0, 10.0, 100.0]


def test_each_image_meets_at_most_one_member() -> None:
    count = 4000
    x = torch.zeros(count, 1, 2, 2)
    x[..., 0] = 0.25  # the left column
    mixture = Mixture([Add(amount) for amount in AMOUNTS], identity=0.3)
    out, choice = mixture(x, torch.Generator().manual_seed(0))
    assert choice.shape == (count,)
    expected = torch.tensor([*AMOUNTS, 0.0])[choice]  # -1 is the last: nothing added
    assert torch.equal(out.amin(dim=(1, 2, 3)), expected)
    shares = torch.bincount(choice + 1, minlength=4) / count
    for share, wanted in zip(shares.tolist(), (0.3, 0.7 / 3, 0.7 / 3, 0.7 / 3), strict=True):
        assert abs(share - wanted) < 4 * (wanted * (1 - wanted) / count) ** 0.5
    mirrored = out[:, 0, 0, 1] > out[:, 0, 0, 0]
    assert abs(float(mirrored.float().mean()) - 0.5) < 4 * 0.5 / count**0.5
    # Mirroring happens to perturbed and unperturbed images alike.
    assert abs(float(mirrored[choice < 0].float().mean()) - 0.5) < 0.08


def test_reach_and_odds_follow_the_errors() -> None:
    mixture = Mixture([Add(amount) for amount in AMOUNTS], identity=0.0, hold=0.93, reach=0.3)
    assert set(mixture.state_dict()) == {"reach", "error"}
    choice = torch.tensor([0, 0, 1, -1])
    accuracy = torch.tensor([1.0, 0.9, 0.6, 0.0])
    reach, error = [0.3, 0.3, 0.3], [0.1, 0.1, 0.1]
    for _ in range(200):
        mixture.learn(choice, accuracy)
        reach[0] = min(1.0, reach[0] + 0.005)  # 0.95 on average: read well
        error[0] += 0.05 * (0.05 - error[0])
        reach[1] = max(LEAST_REACH, reach[1] - 0.005)
        error[1] += 0.05 * (0.4 - error[1])
    torch.testing.assert_close(mixture.reach, torch.tensor(reach), rtol=0, atol=1e-4)
    torch.testing.assert_close(mixture.error, torch.tensor(error), rtol=0, atol=1e-4)
    assert reach[0] == 1.0
    mixture.learn(torch.tensor([0]), torch.tensor([0.5]))
    assert float(mixture.reach[0]) == pytest.approx(0.995)

    count = 6000
    _, drawn = mixture(torch.zeros(count, 1, 1, 1), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=3) / count
    errors = mixture.error.double().clamp_max(HOPELESS) + 1e-4
    for share, wanted in zip(shares, 0.5 / 3 + 0.5 * errors / errors.sum(), strict=True):
        assert abs(float(share - wanted)) < 4 * float(wanted * (1 - wanted) / count) ** 0.5


def test_strengths_are_drawn_within_the_reach() -> None:
    class Known(Add):
        mildest, harshest = 0.0, 1.0

    mixture = Mixture([Known(1.0)], identity=0.0, reach=0.25)
    out, _ = mixture(torch.zeros(500, 1, 1, 1), torch.Generator().manual_seed(0))
    assert 0.24 < out.max() <= 0.25 and 0.0 <= out.min() < 0.01


def test_all_or_none() -> None:
    x = torch.zeros(64, 1, 2, 2)
    _, choice = Mixture([Add(1.0)], identity=1.0)(x, torch.Generator().manual_seed(1))
    assert (choice == -1).all()
    out, choice = Mixture([Add(1.0)], identity=0.0)(x, torch.Generator().manual_seed(1))
    assert (choice == 0).all() and (out == 1.0).all()


class Slow(Add):
    """Bounded by the pixels of a batch."""

    def most_images(self, size: tuple[int, int]) -> int:
        return 128 // (size[0] * size[1])


@pytest.mark.parametrize(("side", "most"), [(4, 8), (8, 2), (16, 0)])
def test_a_slow_member_is_given_few_images(side: int, most: int) -> None:
    """At any size of the images; the others take over what is beyond, as often as their odds."""
    count = 3000
    mixture = Mixture([Add(1.0), Slow(10.0), Add(100.0)], identity=0.25)
    mixture.error[2] = 0.0
    _, choice = mixture(torch.zeros(count, 3, side, side), torch.Generator().manual_seed(0))
    found = torch.bincount(choice + 1, minlength=4)
    assert found[2] == most
    assert abs(float(found[0]) / count - 0.25) < 4 * (0.25 * 0.75 / count) ** 0.5
    odds = 0.5 / 3 + 0.5 * torch.tensor([0.1, 0.0]) / 0.2
    share = float(odds[0] / odds.sum())
    assert abs(float(found[1]) / float(found[1] + found[3]) - share) < 0.04


def test_slow_members_alone_leave_the_rest_unperturbed() -> None:
    mixture = Mixture([Slow(1.0)], identity=0.0)
    out, choice = mixture(torch.zeros(64, 3, 4, 4), torch.Generator().manual_seed(0))
    assert (choice == 0).sum() == 8 and (choice == -1).sum() == 56
    assert torch.equal(out.amax(dim=(1, 2, 3)), (choice == 0).float())


@pytest.mark.parametrize("identity", [-0.1, 1.5])
def test_identity_is_a_share(identity: float) -> None:
    with pytest.raises(ValueError, match=f"identity is {identity}; it is a share from 0 to 1"):
        Mixture([Add(1.0)], identity)


def test_small_images_are_not_moved() -> None:
    """Below 64 pixels no crop and no turn can be found again, so none is trained against."""
    small = {type(member) for member in training_mixture(32).members}
    assert small == set(TRAINING) - set(MOVING)
    assert {type(member) for member in training_mixture(64).members} == set(TRAINING)
    assert training_mixture(64, more=[Add(1.0)]).members[-1].amount == 1.0  # type: ignore[attr-defined]


def test_training_mixture_on_photographs(photo_crops: Callable[..., Tensor]) -> None:
    x = (photo_crops(256, 32) / 255.0).requires_grad_()
    mixture = training_mixture(128)
    assert len(mixture.members) == len({member.name for member in mixture.members}) == 18
    assert [type(member) for member in mixture.members] == list(TRAINING)
    out, choice = mixture(x, torch.Generator().manual_seed(2))
    again, same = mixture(x, torch.Generator().manual_seed(2))
    assert torch.equal(out, again) and torch.equal(choice, same)
    other, _ = mixture(x, torch.Generator().manual_seed(3))
    assert not torch.equal(out, other)
    assert set(choice.tolist()) == set(range(-1, 18))
    assert out.min() >= -1e-6 and out.max() <= 1 + 1e-6
    for image, original, number in zip(out, x, choice.tolist(), strict=True):
        untouched = torch.equal(image, original) or torch.equal(image, original.flip(-1))
        assert untouched == (number < 0), mixture.members[number].name
    out.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def unmirrored(out: Tensor, x: Tensor) -> Tensor:
    """Each image the way round in which it is closer to the original."""
    error, mirrored = ((side - x).square().mean(dim=(1, 2, 3)) for side in (out, out.flip(-1)))
    return torch.where((mirrored < error).view(-1, 1, 1, 1), out.flip(-1), out)


@pytest.mark.parametrize("member", [Rotation(), RandomCrop(), CentreCrop()])
def test_what_moves_comes_back_in_place(
    member: Perturbation, ramps: Callable[[int, int], Tensor]
) -> None:
    """Away from the border, up to some pixels by which a search would be off too."""
    height, width = 48, 64
    x = ramps(height, width).expand(200, -1, -1, -1)
    strength = torch.full((200,), member.harshest)
    moved = member.differentiable(x, strength, torch.Generator().manual_seed(0))
    mixture = Mixture([member], identity=0.0, reach=1.0)
    out, choice = mixture(x, torch.Generator().manual_seed(1))
    assert (choice == 0).all() and out.shape == x.shape
    middle = (..., slice(15, -15), slice(20, -20))
    pixels = (unmirrored(out, x) - x)[middle][:, :2].flatten(2) / 0.6
    pixels = pixels * torch.tensor([width, height]).view(1, 2, 1)  # how far each is out of place
    # In the middle the three parts of the error weigh 1, about 0.3 and about 0.3.
    rms = float(pixels.square().mean().sqrt())
    assert 0.5 * MISPLACED < rms < 1.0 * MISPLACED
    assert pixels.abs().max() < 6 * MISPLACED
    assert (moved - x)[middle].abs().max() > 0.02


def test_how_far_it_is_misplaced(ramps: Callable[[int, int], Tensor]) -> None:
    """The corners by half a pixel (standard deviation) along each axis, the centre by less."""
    height, width = 48, 80
    x = ramps(height, width).expand(1500, -1, -1, -1)
    mixture = Mixture([Rotation()], identity=0.0, reach=0.0)  # turned by nothing
    out, _ = mixture(x, torch.Generator().manual_seed(1))
    off = (unmirrored(out, x) - x)[:, :2] / 0.6
    off = off * torch.tensor([width, height]).view(1, 2, 1, 1)
    for row, column in ((24, 40), (6, 8), (41, 8), (24, 71)):
        across, down = (column + 0.5) / width * 2 - 1, (row + 0.5) / height * 2 - 1
        expected = MISPLACED * ((1 + across**2 + down**2) / 3) ** 0.5
        for axis in range(2):
            values = off[:, axis, row, column]
            # Cubic convolution with a = -0.75 exaggerates small shifts of a ramp by some percent.
            assert float(values.std()) == pytest.approx(expected, rel=0.15)
            assert abs(float(values.mean())) < 4.5 * expected / 1500**0.5 + 0.01


@pytest.mark.parametrize("member", [Jpeg(), Brightness(), Erase()])
def test_what_stays_is_given_as_it_is(
    member: Perturbation, photo_crops: Callable[..., Tensor]
) -> None:
    """Replayed by hand: choices, identity, strengths, the differentiable form, mirroring."""
    x = photo_crops(8, 32) / 255.0
    mixture = Mixture([member], identity=0.0, reach=0.5)
    out, _ = mixture(x, torch.Generator().manual_seed(1))
    draws = torch.Generator().manual_seed(1)
    torch.multinomial(torch.ones(1), 8, replacement=True, generator=draws)
    torch.rand(8, generator=draws)
    expected = member.differentiable(x, member.draw(8, draws, 0.5), draws)
    mirrored = torch.rand(8, generator=draws) < 0.5
    assert 0 < mirrored.sum() < 8
    assert torch.equal(out, torch.where(mirrored.view(-1, 1, 1, 1), expected.flip(-1), expected))


def test_a_combination_is_realigned_by_the_crop_that_it_did(
    ramps: Callable[[int, int], Tensor],
) -> None:
    class Unblurred(Combination):
        STEPS = Combination.STEPS[:2]

    x = (ramps(64, 64) * 0.4).expand(40, -1, -1, -1)  # so dark that nothing clips
    out, _ = Mixture([Unblurred()], identity=0.0, reach=1.0)(x, torch.Generator().manual_seed(1))
    middle = (..., slice(18, -18), slice(18, -18))
    ratios, expected = (out[:, :2] / out[:, 2:])[middle], (x[:, :2] / x[:, 2:])[middle]
    off = torch.minimum(
        (ratios - expected).abs().amax(dim=(1, 2, 3)),
        (ratios.flip(-1) - expected).abs().amax(dim=(1, 2, 3)),
    )
    assert off.max() < 1.2 * 6 * MISPLACED / 64
    moved = Unblurred().differentiable(x, torch.ones(40), torch.Generator().manual_seed(1))
    assert ((moved[:, :2] / moved[:, 2:])[middle] - expected).abs().max() > 0.1


def test_transforms_do_not_disturb_the_draws(photo_crops: Callable[..., Tensor]) -> None:
    """`differentiable` gets the generator in the state in which `transform` was asked."""
    seen = []

    class Spy(RandomCrop):
        def boxes(
            self, strength: Tensor, size: tuple[int, int], generator: torch.Generator
        ) -> Tensor:
            seen.append(super().boxes(strength, size, generator))
            return seen[-1]

    x = photo_crops(8, 32) / 255.0
    Mixture([Spy()], identity=0.0)(x, torch.Generator().manual_seed(1))
    assert len(seen) == 2 and torch.equal(seen[0], seen[1])
    assert len({tuple(box) for box in seen[0].tolist()}) > 4


def test_realigned_images_fill_what_was_lost_with_their_mean(
    photo_crops: Callable[..., Tensor],
) -> None:
    x = photo_crops(8, 32, seed=4) / 255.0
    strength = torch.full((8,), 45.0)
    turned = Rotation().differentiable(x, strength, torch.Generator())
    back = warp.realign(turned, Rotation().transform(strength, (32, 32), torch.Generator()))
    means = turned.mean(dim=(2, 3))
    for corner in (back[..., 0, 0], back[..., -1, -1]):
        torch.testing.assert_close(corner, means, rtol=0, atol=0.02)
