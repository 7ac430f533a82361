"""How well an image lies under a decoder's carriers, whatever the bits are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.watermark.networks.poses import Poses, matrices
from artfp.watermark.networks.residual import ResidualDecoder

AT_ONCE = 64
"""Poses of a plan that are tried at once, so that what they see stays in the processor's cache."""


@dataclass(frozen=True)
class Plan:
    """Poses that are tried in many grids: (T * side, side, 2) places of their cells.

    All windows of a size have one chance, and all turns: what matters is how much the
    interpolation smooths. `sizes` are places of one pose for each, `which` (T,) tells whose.
    """

    places: Tensor
    sizes: Tensor
    which: Tensor


class Ruler:
    """Evidence that a grid lies under the carriers, in standard deviations from chance.

    Two signs of a fingerprint whose bits nobody knows, of equal weight: the carriers find more
    energy than patterns of their spectrum find at any place (in logarithm, 0 +- sqrt(2 / bits)
    without a fingerprint), and they all find about the same, up to the sign (mean magnitude
    squared over mean square: 2 / pi for chance's bell curve, by the delta method +- 0.339 /
    sqrt(bits), towards 1 with a fingerprint). Only the colour in which the carriers are strongest
    is looked at.
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
        """Grids (N, 3, side, side) in the one colour, (N, 1, side, side)."""
        return (grids * self.colour.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)

    def places(self, transforms: Tensor) -> Tensor:
        """Where the cells are to be found after transforms (N, T, 3, 3): (N, T * side, side, 2)."""
        rows = torch.linalg.inv(transforms)[..., :2, :]
        centres = (torch.arange(self.side, device=rows.device) * 2 + 1) / self.side - 1.0
        across, down = centres.view(1, -1), centres.view(-1, 1)
        # Not affine_grid: its products of small matrices take several times as long.
        a, b, c = rows[..., None, None].unbind(dim=3)
        return torch.stack(
            [(a * across + b * down + c)[:, :, axis] for axis in range(2)], dim=-1
        ).flatten(1, 2)

    def plan(self, poses: Poses, aspect: float) -> Plan:
        """What `survey` needs of poses (T, 4), all of turns or all of windows."""
        kinds = torch.stack([poses[:, 0], (poses[:, 1] != 0.0) * math.radians(20.0)], dim=1)
        kinds, which = kinds.unique(dim=0, return_inverse=True)
        places, sizes = (
            self.places(matrices(those, aspect)[None])[0] for those in (poses, F.pad(kinds, (0, 2)))
        )
        return Plan(places, sizes, which)

    def evidence(self, gray: Tensor, places: Tensor) -> Tensor:
        """Evidence (N, T) for the places of T transforms in grids (N, 1, side, side)."""
        seen = self._seen(gray, places)
        return self._combined(self._correlate(seen), self._chance(seen)).view(len(gray), -1)

    def still(self, grids: Tensor) -> Tensor:
        """Evidence (N,) in grids (N, 3, side, side) as they lie."""
        seen = self.gray(grids.float()).squeeze(1)
        return self._combined(self._correlate(seen), self._chance(seen))

    def survey(self, gray: Tensor, plan: Plan) -> Tensor:
        """Evidence (N, T) for all poses of a plan in grids (N, 1, side, side)."""
        count = len(gray)
        chance = self._chance(self._seen_alike(gray, plan.sizes).flatten(0, 1)).view(count, -1)
        found = [
            self._correlate(self._seen_alike(gray, places).flatten(0, 1)).view(count, -1, self.bits)
            for places in plan.places.split(AT_ONCE * self.side)
        ]
        chance = chance[:, plan.which].flatten()
        return self._combined(torch.cat(found, dim=1).flatten(0, 1), chance).view(count, -1)

    def _seen_alike(self, gray: Tensor, places: Tensor) -> Tensor:
        """Grids (N, 1, side, side) at the same places in all, (N, T, side, side)."""
        # As colours of one image: where to look is worked out once for all of them.
        seen = F.grid_sample(
            gray.transpose(0, 1), places[None], mode="bilinear", align_corners=False
        )
        return seen.view(len(gray), -1, self.side, self.side)

    def _seen(self, gray: Tensor, places: Tensor) -> Tensor:
        """Grids (N, 1, side, side) at the places of T transforms, (N * T, side, side)."""
        seen = F.grid_sample(gray, places, mode="bilinear", align_corners=False)
        return seen.view(-1, self.side, self.side)

    def _correlate(self, seen: Tensor) -> Tensor:
        """What the carriers find in grids (M, side, side), (M, bits)."""
        half = self.side // 2
        folded = seen[..., :half] + seen[..., half:].flip(-1)
        with torch.autocast(seen.device.type, enabled=False):
            return folded.flatten(1) @ self.patterns

    def _chance(self, seen: Tensor) -> Tensor:
        """ln of the energy that patterns of their spectrum find in them by chance, (M,)."""
        power = torch.fft.rfft2(seen)
        power = power.real.square() + power.imag.square()
        return ((power * self.spectrum).sum(dim=(1, 2)) + 1e-9).log()

    def _combined(self, found: Tensor, chance: Tensor) -> Tensor:
        """Evidence (M,) of what the carriers find (M, bits), given the chance (M,)."""
        square = found.square().mean(dim=1) + 1e-12
        energy = ((square * self.bits).log() - chance) / math.sqrt(2.0 / self.bits)
        evenness = found.abs().mean(dim=1).square() / square - (2.0 / math.pi + 0.32 / self.bits)
        return (energy + evenness / (0.339 / math.sqrt(self.bits))) / math.sqrt(2.0)
