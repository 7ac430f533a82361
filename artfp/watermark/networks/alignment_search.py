"""Search for the crop or turn of an image: candidate transforms, and the score of each.

The score tells how well an image is aligned with a decoder's carriers, whatever the bits are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.watermark.networks.residual import ResidualDecoder

CELLS_BETWEEN = 0.6
"""Cells between neighbouring candidates, or between their outer parts."""

MAX_CROP, MAX_CENTRE_CROP, MAX_TURN = 0.22, 0.42, 46.0
"""Fraction of a side that a crop anywhere, and one about the centre, may have lost; degrees."""

Transforms = Tensor
"""(..., 4): logarithm of the window's side, turn in radians (counter-clockwise), and the window's
centre (x, y) in half sides from the image's; see `artfp.perturbations.warp`."""


def transform_matrices(transforms: Transforms, aspect: Tensor | float = 1.0) -> Tensor:
    """Return the matrices (..., 3, 3) of transforms (..., 4).

    Turns are those of images whose height is `aspect` times their width, a number or (...),
    brought to a square.
    """
    scale = transforms[..., 0].exp()
    cosine, sine = scale * transforms[..., 1].cos(), scale * transforms[..., 1].sin()
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    rows = [cosine, -sine * aspect, transforms[..., 2], sine / aspect, cosine, transforms[..., 3]]
    result: Tensor = torch.stack([*rows, zero, zero, one], dim=-1).unflatten(-1, (3, 3))
    return result


def describe_transform(transform: Tensor) -> str:
    """Return one transform (4,) in words."""
    side, turn, across, down = transform.tolist()
    if turn:
        return f"turned by {math.degrees(turn):.1f} degrees"
    return f"window of {math.exp(side):.3f} of each side, centre at ({across:+.3f}, {down:+.3f})"


def turns_to_try(side: int) -> Transforms:
    """Return the candidate turns (T, 4) for a grid of `side` cells."""
    apart = CELLS_BETWEEN / (0.45 * side)
    last = int(math.radians(MAX_TURN) / apart)
    return torch.tensor([(0.0, i * apart, 0.0, 0.0) for i in range(-last, last + 1) if i])


def windows_to_try(side: int) -> Transforms:
    """Return the candidate crops (T, 4) for a grid of `side` cells."""
    transforms = []
    zoom = 1.5 * CELLS_BETWEEN / side
    window = 1.0 - zoom
    while 1.0 - window <= MAX_CENTRE_CROP:
        lost = 1.0 - window
        steps_to_edge = math.ceil(lost * side / (2.0 * CELLS_BETWEEN))
        anywhere = lost <= MAX_CROP
        steps = range(-steps_to_edge, steps_to_edge + 1) if anywhere else range(-1, 2)
        apart = lost / steps_to_edge if anywhere else 2.0 * CELLS_BETWEEN / side
        transforms += [(math.log(window), 0.0, i * apart, j * apart) for i in steps for j in steps]
        window *= 1.0 - zoom
    return torch.tensor(transforms)


AT_ONCE = 64
"""Transforms that are tried at once: what they sample stays in the cache of the processor."""


@dataclass(frozen=True)
class SearchPlan:
    """Candidate transforms, as the positions (T * side, side, 2) of their cells.

    All windows of one size share one level of chance, and so do all turns: it depends on how much
    the interpolation smooths. `sizes` are the positions of one transform of each size, `which` (T,)
    is the size of each candidate.
    """

    places: Tensor
    sizes: Tensor
    which: Tensor


class AlignmentScorer:
    """Score of the alignment of a grid with the carriers, in standard deviations from chance.

    Two signs of a fingerprint with unknown bits, of equal weight: the carriers correlate with more
    energy than random patterns of their spectrum do (in logarithm, 0 +- sqrt(2 / bits)
    without a fingerprint), and all correlations have about the same magnitude (mean magnitude
    squared over mean square: 2 / pi for the normal distribution of chance, by the delta method
    +- 0.339 / sqrt(bits), towards 1 with a fingerprint). Only the colour in which the carriers are
    strongest counts.
    """

    def __init__(self, decoder: ResidualDecoder, device: torch.device) -> None:
        left = decoder.carriers.left.detach().float().cpu()
        by_colour = left.transpose(0, 1).flatten(1)
        colour = torch.linalg.svd(by_colour, full_matrices=False).U[:, 0]
        one = torch.einsum("c,bchw->bhw", colour, left)
        self.side, self.bits = decoder.carriers.side, decoder.bits
        spectrum = torch.fft.rfft2(torch.cat([one, one.flip(-1)], dim=-1)).abs().square().sum(dim=0)
        twice = torch.full((self.side // 2 + 1,), 2.0)  # frequencies that rfft leaves out
        twice[0] = twice[-1] = 1.0
        self.colour = colour.to(device)
        self.patterns = one.flatten(1).T.contiguous().to(device)
        self.spectrum = (spectrum * twice / self.side**4).to(device)

    def gray(self, grids: Tensor) -> Tensor:
        """Project grids (N, 3, side, side) on the one colour, (N, 1, side, side)."""
        result: Tensor = (grids * self.colour.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        return result

    def positions(self, matrices: Tensor) -> Tensor:
        """Return the positions (N, T * side, side, 2) of the cells under matrices (N, T, 3, 3)."""
        rows = torch.linalg.inv(matrices)[..., :2, :]
        centres = (torch.arange(self.side, device=rows.device) * 2 + 1) / self.side - 1.0
        across, down = centres.view(1, -1), centres.view(-1, 1)
        # Not affine_grid: its products of small matrices take several times as long.
        a, b, c = rows[..., None, None].unbind(dim=3)
        return torch.stack(
            [(a * across + b * down + c)[:, :, axis] for axis in range(2)], dim=-1
        ).flatten(1, 2)

    def search_plan(self, transforms: Transforms, aspect: float) -> SearchPlan:
        """Return the plan of candidates (T, 4), which are all turns or all windows."""
        kinds = torch.stack(
            [transforms[:, 0], (transforms[:, 1] != 0.0) * math.radians(20.0)], dim=1
        )
        kinds, which = kinds.unique(dim=0, return_inverse=True)
        places, sizes = (
            self.positions(transform_matrices(those, aspect)[None])[0]
            for those in (transforms, F.pad(kinds, (0, 2)))
        )
        return SearchPlan(places, sizes, which)

    def score(self, gray: Tensor, places: Tensor) -> Tensor:
        """Return the scores (N, T) of T transforms in grids (N, 1, side, side)."""
        sampled = self._sample(gray, places)
        return self._combine(self._correlate(sampled), self._chance(sampled)).view(len(gray), -1)

    def score_unchanged(self, grids: Tensor) -> Tensor:
        """Return the scores (N,) of grids (N, 3, side, side) without any transform."""
        sampled = self.gray(grids.float()).squeeze(1)
        return self._combine(self._correlate(sampled), self._chance(sampled))

    def coarse_search(self, gray: Tensor, plan: SearchPlan) -> Tensor:
        """Return the scores (N, T) of all candidates of a plan in grids (N, 1, side, side)."""
        count = len(gray)
        chance = self._chance(self._sample_alike(gray, plan.sizes).flatten(0, 1)).view(count, -1)
        correlations = [
            self._correlate(self._sample_alike(gray, places).flatten(0, 1)).view(
                count, -1, self.bits
            )
            for places in plan.places.split(AT_ONCE * self.side)
        ]
        chance = chance[:, plan.which].flatten()
        return self._combine(torch.cat(correlations, dim=1).flatten(0, 1), chance).view(count, -1)

    def _sample_alike(self, gray: Tensor, places: Tensor) -> Tensor:
        """Sample grids (N, 1, side, side) at the same positions in all, (N, T, side, side)."""
        # As colours of one image: the weights of the interpolation are computed once for all.
        sampled = F.grid_sample(
            gray.transpose(0, 1), places[None], mode="bilinear", align_corners=False
        )
        return sampled.view(len(gray), -1, self.side, self.side)

    def _sample(self, gray: Tensor, places: Tensor) -> Tensor:
        """Sample grids (N, 1, side, side) at the positions of T transforms, (N * T, side, side)."""
        sampled = F.grid_sample(gray, places, mode="bilinear", align_corners=False)
        return sampled.view(-1, self.side, self.side)

    def _correlate(self, sampled: Tensor) -> Tensor:
        """Correlate grids (M, side, side) with the carriers, (M, bits)."""
        half = self.side // 2
        folded = sampled[..., :half] + sampled[..., half:].flip(-1)
        with torch.autocast(sampled.device.type, enabled=False):
            return folded.flatten(1) @ self.patterns

    def _chance(self, sampled: Tensor) -> Tensor:
        """Return ln of the energy (M,) that random patterns of that spectrum find by chance."""
        power = torch.fft.rfft2(sampled)
        power = power.real.square() + power.imag.square()
        result: Tensor = ((power * self.spectrum).sum(dim=(1, 2)) + 1e-9).log()
        return result

    def _combine(self, correlations: Tensor, chance: Tensor) -> Tensor:
        """Return the scores (M,) of correlations (M, bits), given the chance energy (M,)."""
        square = correlations.square().mean(dim=1) + 1e-12
        energy = ((square * self.bits).log() - chance) / math.sqrt(2.0 / self.bits)
        evenness = correlations.abs().mean(dim=1).square() / square - (
            2.0 / math.pi + 0.32 / self.bits
        )
        return (energy + evenness / (0.339 / math.sqrt(self.bits))) / math.sqrt(2.0)
