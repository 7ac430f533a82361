"""Transplants: whose word, whose image, and what is common, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artfp.watermark.training.transplant import GROUP_SIZE, make_transplants, share_within_groups


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [2, GROUP_SIZE, 2 * GROUP_SIZE + 3])
def test_groups_have_one_word(count: int) -> None:
    words = torch.randint(0, 2, (count, 64), generator=seeded())
    grouped = share_within_groups(words)
    for i, word in enumerate(grouped):
        assert torch.equal(word, words[i - i % GROUP_SIZE])


@pytest.mark.parametrize("count", [2, GROUP_SIZE + 1, 32])
def test_a_transplant_is_another_image_with_the_mean_residual(count: int) -> None:
    x = torch.rand(count, 3, 4, 4, generator=seeded()) * 0.5 + 0.25
    marked = x + 0.1 * torch.rand(count, 3, 4, 4, generator=seeded(1))
    images, moved, constant = make_transplants(x, marked, 0.5, seeded(2))
    again = make_transplants(x, marked, 0.5, seeded(2))
    assert torch.equal(images, again[0]) and torch.equal(moved, again[1])
    residual = (marked - x).double().numpy()
    energy = 0.0
    for i in range(count):
        first = i - i % GROUP_SIZE
        mean = residual[first : first + GROUP_SIZE].mean(axis=0)
        energy += float((mean**2).sum())
        if not moved[i]:
            assert torch.equal(images[i], marked[i])
            continue
        donor = images[i].double().numpy() - mean
        distances = [np.abs(donor - other.double().numpy()).max() for other in x]
        assert min(distances) < 1e-6 and int(np.argmin(distances)) != i
        if count >= 2 * GROUP_SIZE:
            assert int(np.argmin(distances)) // GROUP_SIZE != i // GROUP_SIZE
    assert float(constant) == pytest.approx(energy / (residual**2).sum(), rel=1e-5)


def test_shares() -> None:
    x = torch.rand(400, 3, 2, 2, generator=seeded())
    for share in (0.0, 0.3, 1.0):
        moved = make_transplants(x, x + 0.01, share, seeded())[1]
        assert float(moved.float().mean()) == pytest.approx(share, abs=0.08)
    assert float(make_transplants(x, x + 0.01, 0.3, seeded())[2]) == pytest.approx(1.0, abs=1e-4)


def test_what_is_not_common_is_not_there() -> None:
    """Residuals that cancel over the group leave nothing to read, and a gradient all the same."""
    x = torch.full((2 * GROUP_SIZE, 3, 2, 2), 0.5)
    signs = torch.tensor([1.0, -1.0]).repeat(GROUP_SIZE).view(-1, 1, 1, 1)
    strength = torch.tensor(0.1, requires_grad=True)
    images, moved, constant = make_transplants(x, x + strength * signs, 1.0, seeded())
    assert moved.all() and torch.allclose(images, x, atol=1e-6) and float(constant) < 1e-9
    pattern = torch.ones(3, 2, 2)
    images, _, _ = make_transplants(x, x + strength * pattern, 1.0, seeded())
    images.sum().backward()
    assert strength.grad is not None and float(strength.grad) == pytest.approx(images.numel())
