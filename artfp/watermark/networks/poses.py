"""How an image may have been cropped or turned: poses, their transforms, and which are tried."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEP = 0.6
"""Cells by which neighbouring tries are apart, or their outer parts are."""

LARGEST_LOSS, LARGEST_CENTRE_LOSS, LARGEST_TURN = 0.22, 0.42, 46.0
"""Share of a side that a crop anywhere and one about the centre may have lost; degrees."""

Poses = Tensor
"""(..., 4): logarithm of the window's side, turn in radians (counter-clockwise), and the window's
centre (x, y) in half sides from the image's; see `artfp.perturbations.warp`."""


def matrices(poses: Poses, aspect: Tensor | float = 1.0) -> Tensor:
    """Transforms (..., 3, 3) of poses (..., 4).

    Turns are those of images whose height is `aspect` times their width, a number or (...),
    brought to a square.
    """
    scale = poses[..., 0].exp()
    cosine, sine = scale * poses[..., 1].cos(), scale * poses[..., 1].sin()
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    rows = [cosine, -sine * aspect, poses[..., 2], sine / aspect, cosine, poses[..., 3]]
    return torch.stack([*rows, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def describe(pose: Tensor) -> str:
    """One pose (4,) in words."""
    side, turn, across, down = pose.tolist()
    if turn:
        return f"turned by {math.degrees(turn):.1f} degrees"
    return f"window of {math.exp(side):.3f} of each side, centre at ({across:+.3f}, {down:+.3f})"


def turns(side: int) -> Poses:
    """The turns that are tried on a grid of `side` cells, (T, 4)."""
    apart = STEP / (0.45 * side)
    last = int(math.radians(LARGEST_TURN) / apart)
    return torch.tensor([(0.0, i * apart, 0.0, 0.0) for i in range(-last, last + 1) if i])


def windows(side: int) -> Poses:
    """The crops that are tried on a grid of `side` cells, (T, 4)."""
    poses = []
    zoom = 1.5 * STEP / side
    window = 1.0 - zoom
    while 1.0 - window <= LARGEST_CENTRE_LOSS:
        lost = 1.0 - window
        reach = math.ceil(lost * side / (2.0 * STEP))  # steps from the centre to the edge
        anywhere = lost <= LARGEST_LOSS
        steps = range(-reach, reach + 1) if anywhere else range(-1, 2)
        apart = lost / reach if anywhere else 2.0 * STEP / side
        poses += [(math.log(window), 0.0, i * apart, j * apart) for i in steps for j in steps]
        window *= 1.0 - zoom
    return torch.tensor(poses)
