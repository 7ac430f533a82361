"""Who is perturbed, by what, and that it can be replayed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from artfp.perturbations import Mixture, Perturbation, training_mixture


class Add(Perturbation):
    """Adds its own amount, so that the sum tells who was here; marks the left edge for mirrors."""

    mildest = harshest = 1.0

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
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
        error[1] += 0.05 * (0.4 - error[1])  # narrowed, but never under the start
    torch.testing.assert_close(mixture.reach, torch.tensor(reach), rtol=0, atol=1e-4)
    torch.testing.assert_close(mixture.error, torch.tensor(error), rtol=0, atol=1e-4)
    assert reach[0] == 1.0
    mixture.learn(torch.tensor([0]), torch.tensor([0.5]))
    assert float(mixture.reach[0]) == pytest.approx(0.995)

    count = 6000
    _, drawn = mixture(torch.zeros(count, 1, 1, 1), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=3) / count
    errors = mixture.error.double() + 1e-4
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


@pytest.mark.parametrize("identity", [-0.1, 1.5])
def test_identity_is_a_share(identity: float) -> None:
    with pytest.raises(ValueError, match=f"identity is {identity}; it is a share from 0 to 1"):
        Mixture([Add(1.0)], identity)


def test_training_mixture_on_photographs(photo_crops: Callable[..., Tensor]) -> None:
    x = (photo_crops(64, 32) / 255.0).requires_grad_()
    mixture = training_mixture()
    out, choice = mixture(x, torch.Generator().manual_seed(2))
    again, same = mixture(x, torch.Generator().manual_seed(2))
    assert torch.equal(out, again) and torch.equal(choice, same)
    other, _ = mixture(x, torch.Generator().manual_seed(3))
    assert not torch.equal(out, other)
    assert set(choice.tolist()) == set(range(-1, 6))
    for image, original, number in zip(out, x, choice.tolist(), strict=True):
        untouched = torch.equal(image, original) or torch.equal(image, original.flip(-1))
        assert untouched == (number < 0)
    out.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad.abs().sum(dim=(1, 2, 3)) > 0).all()
