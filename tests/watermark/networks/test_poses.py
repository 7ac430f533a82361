"""Crops and turns as numbers: their transforms, their words, and whether the tries cover them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from artfp.perturbations import warp
from artfp.watermark.networks.alignment_search import (
    CELLS_BETWEEN,
    describe_transform,
    transform_matrices,
)
from artfp.watermark.networks.alignment_search import turns_to_try as turns_of
from artfp.watermark.networks.alignment_search import windows_to_try as windows_of
from artfp.watermark.networks.realigning import REFINED_TRANSFORMS


def test_poses_as_transforms() -> None:
    """A window and a turn, as `artfp.perturbations.warp` writes them."""
    pose = torch.tensor([math.log(0.8), 0.0, -0.1, 0.15])
    left, top = (-0.1 + 1 - 0.8) / 2, (0.15 + 1 - 0.8) / 2
    values = (torch.tensor([v]) for v in (left, top, 0.8, 0.8))
    torch.testing.assert_close(transform_matrices(pose), warp.window(*values)[0])
    for size in ((128, 128), (90, 160)):
        pose = torch.tensor([0.0, math.radians(17.0), 0.0, 0.0])
        expected = warp.turn(torch.tensor([17.0]), size)[0]
        torch.testing.assert_close(transform_matrices(pose, size[0] / size[1]), expected)
    several = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)) * 0.2
    aspects = torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0])
    for one, pose, aspect in zip(
        transform_matrices(several, aspects), several, aspects.tolist(), strict=True
    ):
        torch.testing.assert_close(one, transform_matrices(pose, aspect))


def test_poses_in_words() -> None:
    assert describe_transform(torch.tensor([0.0, math.radians(-25.04), 0.0, 0.0])) == (
        "turned by -25.0 degrees"
    )
    assert describe_transform(torch.tensor([math.log(0.85), 0.0, -0.133, 0.5])) == (
        "window of 0.850 of each side, centre at (-0.133, +0.500)"
    )


@pytest.mark.parametrize("side", [8, 16, 32])
def test_tries_cover_what_is_promised(side: int) -> None:
    """No gap is wider than what a carrier bears; windows lie inside; a crop or a turn, not both."""
    turns, windows = turns_of(side), windows_of(side)
    for poses in (turns, windows):
        assert len({tuple(p) for p in poses.tolist()}) == len(poses) >= REFINED_TRANSFORMS
        assert (poses != 0.0).any(dim=1).all()
    assert not turns[:, [0, 2, 3]].any() and not windows[:, 1].any()
    half = windows[:, 0].exp()
    assert (windows[:, 2:].abs().amax(dim=1) + half <= 1 + 1.01 * CELLS_BETWEEN * 2 / side).all()
    angles = turns[:, 1]
    assert torch.equal(angles, angles.sort().values) and torch.allclose(angles, -angles.flip(0))
    assert (angles.diff() * side * 0.45 < 2.01 * CELLS_BETWEEN).all()
    assert math.degrees(angles[-1]) > 46 - math.degrees(CELLS_BETWEEN / (0.45 * side))

    draws = np.random.default_rng(0)
    for _ in range(200):
        lost = draws.uniform(0.05, 0.22)
        truth = np.array([1 - lost, *(draws.uniform(-lost, lost, 2))])
        edges = (windows[:, 2:] + half[:, None]).numpy(), (windows[:, 2:] - half[:, None]).numpy()
        off = np.maximum(
            np.abs(edges[0] - (truth[1:] + truth[0])).max(axis=1),
            np.abs(edges[1] - (truth[1:] - truth[0])).max(axis=1),
        )
        assert off.min() * side / 2 < 1.5 * CELLS_BETWEEN  # cells
