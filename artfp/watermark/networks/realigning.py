"""Decoders that find how an image was cropped, turned or mirrored, and undo it before they decode.

A watermark of many bits shows by itself whether an image is aligned: whatever the bits are, their
carriers together hold more energy than chance. So a few hundred crops and turns are tried on the
decoder's coarse grid, the best are refined, and the image is put back and decoded once. Nothing
here knows a key; the choice depends on the image alone, so the p-value of the decoded bits stays
exact without a correction for the number of candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.perturbations.warp import realign
from artfp.watermark.networks.alignment_search import (
    CELLS_BETWEEN,
    AlignmentScorer,
    SearchPlan,
    Transforms,
    describe_transform,
    transform_matrices,
    turns_to_try,
    windows_to_try,
)
from artfp.watermark.networks.base import Decoder
from artfp.watermark.networks.residual import ResidualDecoder

CLEAR_SCORE = 6.0
"""Score (see `AlignmentScorer`) from which an image is decoded without a search."""

ACCEPT_TURN, ACCEPT_WINDOW = 3.4, 3.8
"""The a such that a turn or a crop is undone if its score squared exceeds a squared plus the square
of the score without a transform: a likelihood ratio, given that many candidates."""

REFINED_TRANSFORMS = 8
"""Number of turns, and of windows, that are refined."""

MIN_TURN_SCORE, MIN_WINDOW_SCORE = 2.4, 3.9
"""Score on the grid that a turn or a crop must have to be tried on the image."""

REFINE_TURN_SCORE, REFINE_WINDOW_SCORE = 1.9, 3.5
"""Score that the best of all turns or windows must have to be refined."""

MAX_SEARCH_PLANS = 16
"""Number of plans (see `SearchPlan`) in the cache; each shape of image needs its own."""

HALVINGS = 3
"""Number of times that the steps of the refinement are halved."""

SEARCHED_AT_ONCE = 16
"""Images that are searched at once."""


@dataclass(frozen=True)
class TransformKind:
    """Candidate transforms (T, 4), which of their numbers to refine, and thresholds of the score.

    `refine_score`, `min_score` and `accept_score`: see REFINE_TURN_SCORE, MIN_TURN_SCORE and
    ACCEPT_TURN.
    """

    candidates: Transforms
    free: tuple[int, ...]
    refine_score: float
    min_score: float
    accept_score: float


class RealigningDecoder(Decoder):
    """`residual` decoder that undoes crops and turns before it decodes.

    Images with a clear fingerprint are decoded without a search; for the others it takes some
    milliseconds each. Crops up to 22% of a side anywhere, 42% about the centre, and
    turns up to 46 degrees are found; a crop and a turn together are not looked for.
    """

    def __init__(self, decoder: ResidualDecoder) -> None:
        super().__init__(decoder.bits, decoder.resolution)
        self.decoder = decoder
        self.architecture = decoder.architecture
        side = decoder.carriers.side
        self._kinds = (
            TransformKind(turns_to_try(side), (1,), REFINE_TURN_SCORE, MIN_TURN_SCORE, ACCEPT_TURN),
            TransformKind(
                windows_to_try(side),
                (0, 2, 3),
                REFINE_WINDOW_SCORE,
                MIN_WINDOW_SCORE,
                ACCEPT_WINDOW,
            ),
        )
        self._scorers: dict[torch.device, AlignmentScorer] = {}
        self._search_plans: dict[tuple[torch.device, int, float], SearchPlan] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, bits) of images (N, 3, R, R) in [0, 1] that were square."""
        return self.decode(x, torch.ones(len(x)))[0]

    def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """Return logits and notes, see Decoder."""
        grids, transforms, moved = self._align(x, aspects)
        pairs = zip(transforms, moved.tolist(), strict=True)
        return self.decoder.decode_residual(grids), [
            describe_transform(transform) if was else "" for transform, was in pairs
        ]

    def find_transforms(self, x: Tensor, aspects: Tensor) -> tuple[Transforms, Tensor]:
        """Return the transforms (N, 4) of images (N, 3, R, R), and whether there is any, (N,).

        `aspects` (N,) as in `decode`.
        """
        return self._align(x, aspects)[1:]

    @torch.no_grad()
    def _align(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, Transforms, Tensor]:
        """Return the residuals of the images once put back, and what `find_transforms` returns."""
        if x.device not in self._scorers:
            self._scorers[x.device] = AlignmentScorer(self.decoder, x.device)
        scorer = self._scorers[x.device]
        grids = self.decoder.estimate_residual(x)
        transforms = torch.zeros(len(x), 4, device=x.device)
        plain = scorer.score_unchanged(grids)
        best = plain.clamp_min(0.0).square()
        aspects = aspects.to(x.device)
        unclear = plain < CLEAR_SCORE
        for aspect in aspects[unclear].unique().tolist():
            those = (unclear & (aspects == aspect)).nonzero().flatten()
            for part in those.split(SEARCHED_AT_ONCE):
                gray = scorer.gray(grids[part].float())
                for number, kind in enumerate(self._kinds):
                    with torch.autocast(x.device.type, enabled=False):  # places need precision
                        coarse = scorer.coarse_search(
                            gray, self._search_plan(scorer, number, aspect)
                        )
                        promising = (coarse.amax(dim=1) >= kind.refine_score).nonzero().flatten()
                        if not len(promising):
                            continue
                        transform, on_grid = self._refine(
                            scorer, gray[promising], coarse[promising], kind, aspect
                        )
                        likely = on_grid >= kind.min_score
                        chosen = part[promising[likely]]
                        if not len(chosen):
                            continue
                        transform, on_grid = transform[likely], on_grid[likely]
                        # The grid is coarse: what is best on it is tried on the image too.
                        realigned = realign(
                            x[chosen].float(), transform_matrices(transform, aspect)
                        ).to(x)
                    estimate = self.decoder.estimate_residual(realigned)
                    score = ((on_grid + scorer.score_unchanged(estimate)) / 2.0).clamp_min(0.0)
                    excess = score.square() - kind.accept_score**2
                    better = excess > best[chosen]
                    where = chosen[better]
                    grids = grids.index_copy(0, where, estimate[better])
                    transforms[where], best[where] = transform[better], excess[better]
        return grids, transforms, (transforms != 0.0).any(dim=1)

    def _search_plan(self, scorer: AlignmentScorer, number: int, aspect: float) -> SearchPlan:
        """Return the plan of a kind for images of a shape, from the cache if it is there."""
        device = scorer.colour.device
        key = (device, number, aspect)
        if key not in self._search_plans:
            if len(self._search_plans) >= MAX_SEARCH_PLANS:
                self._search_plans.pop(next(iter(self._search_plans)))
            self._search_plans[key] = scorer.search_plan(
                self._kinds[number].candidates.to(device), aspect
            )
        return self._search_plans[key]

    def _refine(
        self,
        scorer: AlignmentScorer,
        gray: Tensor,
        coarse: Tensor,
        kind: TransformKind,
        aspect: float,
    ) -> tuple[Transforms, Tensor]:
        """Return the best transform (N, 4) near the best candidates of a kind, and its score (N,).

        `gray` (N, 1, side, side) are the grids, `coarse` (N, T) the scores of the candidates.
        """
        count = len(gray)
        transforms = kind.candidates.to(gray)[coarse.topk(REFINED_TRANSFORMS, dim=1).indices]
        best = scorer.score(gray, scorer.positions(transform_matrices(transforms, aspect)))
        apart = CELLS_BETWEEN / scorer.side
        step = torch.tensor([0.75 * apart, apart / 0.9, apart, apart]).to(gray)
        for _ in range(HALVINGS):
            for axis in kind.free:
                nudge = torch.zeros(2, 4).to(gray)
                nudge[0, axis], nudge[1, axis] = step[axis], -step[axis]
                nearby = transforms.unsqueeze(2) + nudge
                places = scorer.positions(transform_matrices(nearby.flatten(1, 2), aspect))
                values = scorer.score(gray, places).view(count, -1, 2)
                better, which = values.max(dim=2)
                chosen = nearby.gather(2, which[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
                transforms = torch.where((better > best).unsqueeze(-1), chosen, transforms)
                best = torch.maximum(best, better)
            step = step / 2.0
        winner = best.argmax(dim=1)
        rows = torch.arange(count, device=gray.device)
        return transforms[rows, winner], best[rows, winner]


class MirroringDecoder(Decoder):
    """Decoder that decodes an image and its mirror image, and takes the more certain result.

    For architectures that are not symmetric. The more certain result has the larger mean magnitude
    of the logits; like a realignment, the choice knows no key.
    """

    @staticmethod
    def check_shape(bits: int, resolution: int) -> None:
        """Check nothing: the class of the decoder has."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder.bits, decoder.resolution)
        self.decoder = decoder
        self.architecture = decoder.architecture

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, bits) of images (N, 3, R, R) in [0, 1]."""
        return self.decode(x, torch.ones(len(x)))[0]

    def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """Return logits and notes, see Decoder."""
        plain, mirrored = self.decoder(x), self.decoder(x.flip(-1))
        mirrored_is_surer = mirrored.abs().mean(dim=1) > plain.abs().mean(dim=1)
        notes = ["mirrored" if other else "" for other in mirrored_is_surer.tolist()]
        return torch.where(mirrored_is_surer.unsqueeze(1), mirrored, plain), notes


def with_realignment(decoder: Decoder) -> Decoder:
    """Return the decoder with all undone before it decodes that it cannot undo by itself.

    The carriers of `residual` are symmetric, so its logits do not change with mirroring.
    """
    if isinstance(decoder, ResidualDecoder):
        return RealigningDecoder(decoder).eval()
    return MirroringDecoder(decoder).eval()
