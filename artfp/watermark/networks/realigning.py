"""Decoder that finds how an image was cropped or turned, and undoes it before it decodes.

A watermark of many bits shows by itself whether an image is aligned: whatever the bits are, their
carriers together hold more energy than chance. So a few hundred crops and turns are tried on the
decoder's coarse grid, the best are refined, and the image is put back and decoded once. Nothing
here knows a key; the choice depends on the image alone, so the p-value of the decoded bits stays
exact without a correction for the number of candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.data.edges import Box
from artfp.perturbations.warp import realign
from artfp.watermark.networks.alignment_search import (
    CELLS_BETWEEN,
    MAX_CENTRE_CROP,
    MAX_CROP,
    MAX_TURN,
    AlignmentScorer,
    SearchPlan,
    Transforms,
    describe_transform,
    transform_matrices,
    turns_to_try,
    windows_to_try,
)
from artfp.watermark.networks.base import Decoder
from artfp.watermark.networks.orientation import (
    Orientation,
    OrientingDecoder,
    orientation_margin,
)
from artfp.watermark.networks.residual import ResidualDecoder

CLEAR_SCORE = 6.0
"""Score (see `AlignmentScorer`) from which an image is decoded without a search."""

ACCEPT_TURN, ACCEPT_WINDOW = 3.4, 3.8
"""The a such that a turn or a crop is undone if its score squared exceeds a squared plus the square
of the score without a transform: a likelihood ratio, given that many candidates."""

ACCEPT_QUARTER_TURN = 2.5
"""The a of turns by 90, 180 and 270 degrees: three candidates, so less is asked of them."""

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


@dataclass(frozen=True)
class Alignment:
    """Residuals (N, 3, side, side) of images that were put back, and what was undone in each.

    `transforms` (N, 4) are crops and turns, `quarters` (N,) counter-clockwise quarter turns.
    """

    grids: Tensor
    transforms: Transforms
    quarters: Tensor

    def notes(self) -> list[str]:
        """Return what was undone in each image, in words, or ""."""
        pairs = zip(self.transforms, self.quarters.tolist(), strict=True)
        return [
            describe_transform(transform)
            if bool((transform != 0.0).any())
            else str(Orientation(turns, False))
            for transform, turns in pairs
        ]


class RealigningDecoder(Decoder):
    """`residual` decoder that undoes crops and turns before it decodes.

    Images with a clear fingerprint are decoded without a search; for the others it takes some
    milliseconds each. Crops up to 22% of a side anywhere, 42% about the centre,
    turns up to 46 degrees, and turns by 90, 180 and 270 degrees are found; two of them together
    are not looked for. Mirroring changes nothing, as the carriers are symmetric.
    """

    searched = (
        "images as they are, mirrored, turned by 90, 180 or 270 degrees or by up to "
        f"{MAX_TURN:g}, without their borders, as a picture of a collage, and "
        f"cropped by up to {MAX_CROP:.0%} of a side ({MAX_CENTRE_CROP:.0%} about the centre)"
    )

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
        found = self._align(x, aspects)
        return self.decoder.decode_residual(found.grids), found.notes()

    def find_transforms(self, x: Tensor, aspects: Tensor) -> tuple[Transforms, Tensor]:
        """Return the crops and turns (N, 4) of images (N, 3, R, R), and whether there is one, (N,).

        `aspects` (N,) as in `decode`.
        """
        found = self._align(x, aspects)
        return found.transforms, (found.transforms != 0.0).any(dim=1)

    @torch.no_grad()
    def _align(self, x: Tensor, aspects: Tensor) -> Alignment:
        """Find the orientation, the crop or the turn of each image, and undo it."""
        if x.device not in self._scorers:
            self._scorers[x.device] = AlignmentScorer(self.decoder, x.device)
        scorer = self._scorers[x.device]
        grids = self.decoder.estimate_residual(x)
        transforms = torch.zeros(len(x), 4, device=x.device)
        plain = scorer.score_unchanged(grids)
        best = plain.clamp_min(0.0).square()
        aspects = aspects.to(x.device)
        grids, quarters, best = self._turn_by_quarters(scorer, x, grids, best)
        unclear = best < CLEAR_SCORE**2
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
                    quarters[where] = 0
        return Alignment(grids, transforms, quarters)

    def _turn_by_quarters(
        self, scorer: AlignmentScorer, x: Tensor, grids: Tensor, best: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Try the quarter turns of images that are not clear.

        Returns the grids, the quarter turns that were undone (N,), and the best excess (N,).
        """
        quarters = torch.zeros(len(x), dtype=torch.long, device=x.device)
        unclear = (best < CLEAR_SCORE**2).nonzero().flatten()
        for turns in (1, 2, 3) if len(unclear) else ():
            turned = self.decoder.estimate_residual(Orientation(turns, False).undo(x[unclear]))
            score = scorer.score_unchanged(turned).clamp_min(0.0)
            excess = score.square() - ACCEPT_QUARTER_TURN**2
            better = excess > best[unclear]
            where = unclear[better]
            grids = grids.index_copy(0, where, turned[better])
            quarters[where] = turns
            best = best.index_copy(0, where, excess[better])
        return grids, quarters, best

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


def with_realignment(decoder: Decoder) -> Decoder:
    """Return the decoder with all undone before it decodes that it cannot undo by itself.

    The carriers of `residual` are symmetric, so its logits do not change with mirroring, and there
    is nothing to choose.
    """
    if isinstance(decoder, ResidualDecoder):
        return RealigningDecoder(decoder).eval()
    return OrientingDecoder(decoder).eval()


def realigns(decoder: Decoder) -> bool:
    """Return True if a decoder undoes what happened to an image before it decodes."""
    return isinstance(decoder, RealigningDecoder | OrientingDecoder)


def take_surer_pictures(
    decoded: tuple[Tensor, list[str]],
    pictures: tuple[Tensor, list[str]],
    whose: Sequence[int],
    boxes: Sequence[Box],
) -> tuple[Tensor, list[str]]:
    """Take what was decoded of a picture within an image, where that is clearly surer.

    Sureness and margin are those of `OrientingDecoder`: the choice knows no key.

    Args:
        decoded: Logits (N, bits) and notes of images, as `Decoder.decode` gives them.
        pictures: The same of K pictures, see `artfp.data.borders.find_pictures`.
        whose: Position among the images of each picture, (K,).
        boxes: Where each picture is in its image, (K,).

    Returns:
        Logits (N, bits) and notes.
    """
    logits, notes = decoded[0].clone(), list(decoded[1])
    sureness = (logits.abs().mean(dim=1) * orientation_margin(logits.shape[1])).tolist()
    for row, note, at, (top, bottom, left, right) in zip(*pictures, whose, boxes, strict=True):
        value = float(row.abs().mean())
        if value > sureness[at]:
            sureness[at], logits[at] = value, row
            place = f"picture of {right - left}x{bottom - top} at ({left}, {top})"
            notes[at] = f"{place}, {note}" if note else place
    return logits, notes
