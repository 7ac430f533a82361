"""Random numbers for images: rows that belong to images."""

from __future__ import annotations

import torch

from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs, derive_seed


def numbers(rng: RandomInputs) -> list[torch.Tensor]:
    return [rng.normal(5), rng.uniform(2, 3), rng.integers(7), rng.normal(40)]


def test_shapes_and_ranges() -> None:
    for rng in (
        RandomInputs(torch.Generator().manual_seed(1), 600),
        ImageRandomInputs(1, range(600)),
    ):
        assert len(rng) == 600
        normal, uniform = rng.normal(4, 2), rng.uniform(8)
        assert normal.shape == (600, 4, 2) and normal.dtype == torch.float32
        assert abs(normal.mean()) < 5 / 4800**0.5 and abs(normal.std() - 1) < 5 / 9600**0.5
        assert uniform.shape == (600, 8) and uniform.min() >= 0 and uniform.max() < 1
        assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / 4800) ** 0.5
        whole = rng.integers(3, 2)
        assert whole.shape == (600, 2) and whole.dtype == torch.int64
        assert whole.unique().tolist() == [0, 1, 2]
        assert rng.integers(5).shape == (600,)


def test_an_image_has_numbers_of_its_own() -> None:
    together = numbers(ImageRandomInputs(3, range(10)))
    for image in (0, 4, 9):
        for whole, alone in zip(together, numbers(ImageRandomInputs(3, [image])), strict=True):
            assert torch.equal(whole[image], alone[0])
    reversed_ = numbers(ImageRandomInputs(3, reversed(range(10))))
    assert all(torch.equal(a, b.flip(0)) for a, b in zip(together, reversed_, strict=True))
    other = numbers(ImageRandomInputs(4, range(10)))
    assert not any(torch.equal(a, b) for a, b in zip(together, other, strict=True))


def test_many_images_have_no_twins() -> None:
    rows = ImageRandomInputs(0, range(2000)).normal(1)
    assert len(rows.unique()) > 1995  # of 2**24 or so values
    seeds = {derive_seed(0, image) for image in range(100_000)}
    assert len(seeds) == 100_000 and derive_seed(1, 23) != derive_seed(12, 3)


def test_shared_draws_follow_their_generator() -> None:
    a, b = (numbers(RandomInputs(torch.Generator().manual_seed(5), 4)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
