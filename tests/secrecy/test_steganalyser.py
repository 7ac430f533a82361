"""Short trainings of the steganalyser."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.secrecy.network import Steganalyser
from artfp.secrecy.steganalyser import SteganalyserTraining, train_steganalyser
from artfp.stats.intervals import auc


def images(count: int, seed: int) -> Tensor:
    """Smooth gradients with a little noise, (count, 3, 16, 16), 8-bit."""
    draws = torch.Generator().manual_seed(seed)
    slopes = torch.randn(count, 3, 2, 1, 1, generator=draws) * 3
    place = torch.arange(16.0) - 8
    x = 128 + slopes[:, :, 0] * place[:, None] + slopes[:, :, 1] * place
    return (x + torch.randn(x.shape, generator=draws)).round().clamp(0, 255).byte()


def marked(x: Tensor, amplitude: int = 6) -> Tensor:
    """The images with one constant pattern of this many grey levels."""
    pattern = torch.randint(0, 2, x.shape[1:], generator=torch.Generator().manual_seed(9)) * 2 - 1
    return (x.int() + amplitude * pattern).clamp(0, 255).byte()


def area(network: Steganalyser, clean: Tensor, suspect: Tensor) -> float:
    with torch.inference_mode():
        return auc(network(clean / 255.0).numpy(), network(suspect / 255.0).numpy())


SHORT = SteganalyserTraining(max_steps=40, batch_size=32, look_every=10)


def trained(pattern: int, settings: SteganalyserTraining = SHORT, seed: int = 3) -> Steganalyser:
    training = images(48, 1), marked(images(48, 2), pattern)
    validation = images(16, 3), marked(images(16, 4), pattern)
    return train_steganalyser(training, validation, seed, settings)


def test_finds_a_loud_pattern() -> None:
    assert area(trained(6), images(60, 5), marked(images(60, 6))) > 0.95


def test_finds_nothing_where_nothing_is() -> None:
    assert abs(area(trained(0), images(300, 5), images(300, 6)) - 0.5) < 0.1


def test_same_seed_same_network() -> None:
    short = SteganalyserTraining(max_steps=3, batch_size=16, look_every=1)
    torch.manual_seed(1)
    first = trained(6, short).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = trained(6, short).state_dict(), trained(6, short, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_stops_early_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the validation images say decides, not the last step."""
    import artfp.secrecy.steganalyser as module

    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    seen: list[Tensor] = []

    def told(self: module.SteganalyserModule, batch: object, batch_idx: int) -> None:
        seen.append(self.network.head.weight.detach().clone())
        self.log("validation/loss", torch.tensor(next(losses)), batch_size=1)

    monkeypatch.setattr(module.SteganalyserModule, "validation_step", told)
    settings = SteganalyserTraining(max_steps=50, batch_size=8, look_every=1, patience=2)
    kept = trained(6, settings)
    assert len(seen) == 4
    assert torch.equal(kept.head.weight, seen[1]) and not torch.equal(seen[1], seen[3])


def test_a_loss_that_is_no_number() -> None:
    with pytest.raises(UserError, match=r"step \d: the loss is (nan|inf); take another seed"):
        trained(6, SteganalyserTraining(max_steps=8, batch_size=16, rate=1e30))
