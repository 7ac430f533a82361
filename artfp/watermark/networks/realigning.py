"""A decoder that finds out how an image was cropped or turned, and undoes it before it reads.

A watermark of many bits is its own ruler: whatever the bits are, their carriers together hold more
energy than chance where the image lies as it lay when it was fingerprinted. So a few hundred crops
and turns are tried on the decoder's coarse grid, the best are refined, and the image is put back
and read once. Nothing here knows a key; the choice depends on the image alone, so the p-value of
the decoded word stays exact without a correction for the number of tries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.perturbations.warp import realign
from artfp.watermark.networks.alignment_search import Plan, Ruler
from artfp.watermark.networks.base import Decoder
from artfp.watermark.networks.poses import STEP, Poses, describe, matrices, turns, windows
from artfp.watermark.networks.residual import ResidualDecoder

SURE = 6.0
"""Evidence (see `Ruler`) that lets an image be read as it lies without a search."""

ENOUGH_TURN, ENOUGH_WINDOW = 3.4, 3.8
"""The e such that a turn or a crop is undone if its evidence squared exceeds e squared plus the
square of that for the image as it lies: a likelihood ratio, against that many tries."""

FINALISTS = 8
"""How many turns, and how many windows, are refined."""

LEAST_TURN, LEAST_WINDOW = 2.4, 3.9
"""Evidence on the grid that a turn or a crop must have to be tried on the image."""

HINT_TURN, HINT_WINDOW = 1.9, 3.5
"""Evidence that the best of all turns or windows must have before it is refined."""

PLANS = 16
"""How many plans (see `Ruler.plan`) are kept; each shape of image needs its own."""

ROUNDS = 3
"""How often the steps of the refinement are halved."""

CHUNK = 16
"""Images that are searched at once."""


@dataclass(frozen=True)
class Kind:
    """Poses (T, 4) that are tried, which of their numbers are refined, and what evidence counts.

    `hint`, `least` and `enough`: see HINT_TURN, LEAST_TURN and ENOUGH_TURN.
    """

    tries: Poses
    free: tuple[int, ...]
    hint: float
    least: float
    enough: float


class RealigningDecoder(Decoder):
    """A `residual` decoder that reads cropped and turned images as if they were not.

    Images in which the fingerprint is plainly heard are read as they are; for the others a search
    costs some milliseconds each. Crops up to 22% of a side anywhere, 42% about the centre, and
    turns up to 46 degrees are found; a crop and a turn together are not looked for.
    """

    def __init__(self, decoder: ResidualDecoder) -> None:
        super().__init__(decoder.bits, decoder.resolution)
        self.decoder = decoder
        self.architecture = decoder.architecture
        side = decoder.carriers.side
        self._kinds = (
            Kind(turns(side), (1,), HINT_TURN, LEAST_TURN, ENOUGH_TURN),
            Kind(windows(side), (0, 2, 3), HINT_WINDOW, LEAST_WINDOW, ENOUGH_WINDOW),
        )
        self._rulers: dict[torch.device, Ruler] = {}
        self._plans: dict[tuple[torch.device, int, float], Plan] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, bits) of images (N, 3, R, R) in [0, 1] that were square."""
        return self.read(x, torch.ones(len(x)))[0]

    def read(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """See Decoder."""
        grids, poses, moved = self._listen(x, aspects)
        pairs = zip(poses, moved.tolist(), strict=True)
        return self.decoder.judge(grids), [describe(pose) if was else "" for pose, was in pairs]

    def poses(self, x: Tensor, aspects: Tensor) -> tuple[Poses, Tensor]:
        """How images (N, 3, R, R) were cropped or turned: (N, 4), and whether at all, (N,).

        `aspects` (N,) as in `read`.
        """
        return self._listen(x, aspects)[1:]

    @torch.no_grad()
    def _listen(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, Poses, Tensor]:
        """What the decoder hears in the images once put back, and what `poses` gives."""
        if x.device not in self._rulers:
            self._rulers[x.device] = Ruler(self.decoder, x.device)
        ruler = self._rulers[x.device]
        grids = self.decoder.listen(x)
        poses = torch.zeros(len(x), 4, device=x.device)
        plain = ruler.still(grids)
        best = plain.clamp_min(0.0).square()
        aspects = aspects.to(x.device)
        doubtful = plain < SURE
        for aspect in aspects[doubtful].unique().tolist():
            those = (doubtful & (aspects == aspect)).nonzero().flatten()
            for part in those.split(CHUNK):
                gray = ruler.gray(grids[part].float())
                for number, kind in enumerate(self._kinds):
                    with torch.autocast(x.device.type, enabled=False):  # places need precision
                        survey = ruler.survey(gray, self._plan(ruler, number, aspect))
                        hinted = (survey.amax(dim=1) >= kind.hint).nonzero().flatten()
                        if not len(hinted):
                            continue
                        pose, on_grid = self._refine(
                            ruler, gray[hinted], survey[hinted], kind, aspect
                        )
                        likely = on_grid >= kind.least
                        chosen = part[hinted[likely]]
                        if not len(chosen):
                            continue
                        pose, on_grid = pose[likely], on_grid[likely]
                        # The grid is coarse: what looks best on it is tried on the image too.
                        straight = realign(x[chosen].float(), matrices(pose, aspect)).to(x)
                    heard = self.decoder.listen(straight)
                    evidence = ((on_grid + ruler.still(heard)) / 2.0).clamp_min(0.0)
                    excess = evidence.square() - kind.enough**2
                    better = excess > best[chosen]
                    where = chosen[better]
                    grids = grids.index_copy(0, where, heard[better])
                    poses[where], best[where] = pose[better], excess[better]
        return grids, poses, (poses != 0.0).any(dim=1)

    def _plan(self, ruler: Ruler, number: int, aspect: float) -> Plan:
        """The plan of a kind for images of a shape."""
        device = ruler.colour.device
        key = (device, number, aspect)
        if key not in self._plans:
            if len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = ruler.plan(self._kinds[number].tries.to(device), aspect)
        return self._plans[key]

    def _refine(
        self, ruler: Ruler, gray: Tensor, survey: Tensor, kind: Kind, aspect: float
    ) -> tuple[Poses, Tensor]:
        """The best pose (N, 4) near the best tries of a kind, and its evidence (N,).

        Args: `gray` (N, 1, side, side), `survey` (N, T) the evidence of the tries in them.
        """
        count = len(gray)
        poses = kind.tries.to(gray)[survey.topk(FINALISTS, dim=1).indices]
        best = ruler.evidence(gray, ruler.places(matrices(poses, aspect)))
        apart = STEP / ruler.side
        step = torch.tensor([0.75 * apart, apart / 0.9, apart, apart]).to(gray)
        for _ in range(ROUNDS):
            for axis in kind.free:
                nudge = torch.zeros(2, 4).to(gray)
                nudge[0, axis], nudge[1, axis] = step[axis], -step[axis]
                nearby = poses.unsqueeze(2) + nudge
                places = ruler.places(matrices(nearby.flatten(1, 2), aspect))
                values = ruler.evidence(gray, places).view(count, -1, 2)
                better, which = values.max(dim=2)
                chosen = nearby.gather(2, which[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
                poses = torch.where((better > best).unsqueeze(-1), chosen, poses)
                best = torch.maximum(best, better)
            step = step / 2.0
        winner = best.argmax(dim=1)
        rows = torch.arange(count, device=gray.device)
        return poses[rows, winner], best[rows, winner]


class MirroringDecoder(Decoder):
    """A decoder that reads images both ways round and takes the way of which it is surer.

    For architectures to which a mirrored image is another image. The surer way is that of the
    larger mean magnitude of the logits; like a realignment, the choice knows no key.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder.bits, decoder.resolution)
        self.decoder = decoder
        self.architecture = decoder.architecture

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, bits) of images (N, 3, R, R) in [0, 1]."""
        return self.read(x, torch.ones(len(x)))[0]

    def read(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """See Decoder."""
        plain, mirrored = self.decoder(x), self.decoder(x.flip(-1))
        surer = mirrored.abs().mean(dim=1) > plain.abs().mean(dim=1)
        notes = ["mirrored" if other else "" for other in surer.tolist()]
        return torch.where(surer.unsqueeze(1), mirrored, plain), notes


def realigning(decoder: Decoder) -> Decoder:
    """The decoder, with all that it cannot undo by itself undone before it reads.

    The carriers of `residual` are symmetric: a mirrored image is no other image to them.
    """
    if isinstance(decoder, ResidualDecoder):
        return RealigningDecoder(decoder).eval()
    return MirroringDecoder(decoder).eval()
