"""Galleries: inputs stand over what becomes of them, also where they are few."""

from __future__ import annotations

import pytest
import torch

from artfp.generators import DataBatch, build_model
from artfp.generators.training.callbacks import sample_grid

SIDE = 32


@pytest.mark.parametrize("count", [3, 8, 12])
def test_a_translators_sample_grid(count: int) -> None:
    model = build_model(
        "cyclegan", SIDE, changes={"width": 2, "discriminator_width": 2, "residual_blocks": 1}
    )
    images = tuple(
        torch.full((count, 3, SIDE, SIDE), 10 * domain, dtype=torch.uint8)
        + torch.arange(count, dtype=torch.uint8)[:, None, None, None]
        for domain in (1, 2)
    )
    grid = sample_grid(model, model.generator, DataBatch(images))
    shown, step = min(count, 8), SIDE + 2
    assert grid.shape == (3, 4 * step + 2, shown * step + 2)
    for row, domain in ((0, 0), (2, 1)):  # those of the target 1 come first
        corners = grid[0, 2 + row * step, 2::step] * 255
        expected = [10 * (domain + 1) + i for i in range(shown)]
        assert corners.round().int().tolist() == expected
        generated = model.generator.translate(images[domain][:1] / 255.0, 1 - domain)[0]
        below = grid[:, 2 + (row + 1) * step :, 2:][:, :SIDE, :SIDE]
        torch.testing.assert_close(below, generated, atol=1e-5, rtol=0)
