"""Attribution by the most similar known image: a baseline (Yu et al. 2019, arXiv 1811.08180).

It only has the scene content of images. Generators that learned from the same images show the same,
so any method that uses traces should do better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

NEAREST = "nearest"
"""`kind` in the card."""

_GRAY = 128.0
"""Subtracted from all grey levels before products are taken, which are then smaller."""

_BLOCK = 1 << 26
"""Grey levels of known images that are converted to floats at once, at most."""

_BATCH = 256


class NearestNeighbour:
    """Attributor by known images; images have the size of these.

    The score of a source is minus the distance to the nearest of its images, in grey levels: the
    root of the mean squared difference of pixels. The source with the largest score is that of the
    nearest neighbour under the Euclidean distance.
    """

    def __init__(
        self, sources: Sequence[str], pixels: Tensor, labels: Tensor, name: str = NEAREST
    ) -> None:
        """Take 8-bit images (M, 3, H, W) of sources `labels` (M,), at least one of each.

        Raises:
            ValueError: something else.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or labels.shape != pixels.shape[:1]:
            raise ValueError(f"{tuple(pixels.shape)} {pixels.dtype}, {tuple(labels.shape)} labels")
        counts = torch.bincount(labels, minlength=len(sources))
        if len(counts) != len(sources) or not bool((counts > 0).all()):
            raise ValueError(f"{counts.tolist()} images of {len(sources)} sources")
        order = torch.argsort(labels, stable=True)
        self.name, self.sources = name, tuple(sources)
        self.pixels, self.counts = pixels[order], counts

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor. Raises ValueError: images of another size."""
        if x.shape[1:] != self.pixels.shape[1:]:
            raise ValueError(f"images {tuple(x.shape)}, known ones {tuple(self.pixels.shape)}")
        rows = x.float().flatten(1) * 255.0
        blocks = self.pixels.flatten(1).split(self.counts.tolist())
        return -torch.stack([_nearest(rows, block) for block in blocks], 1)

    def held_out(self, folds: Tensor) -> Tensor:
        """Return scores (M, sources) of its own images by those of other `folds` (M,).

        In the order of `pixels`: sources one after the other.

        Raises:
            ValueError: all images of a source are in one fold.
        """
        columns = []
        whole = self.pixels.flatten(1)
        parts = zip(
            whole.split(self.counts.tolist()), folds.split(self.counts.tolist()), strict=True
        )
        for block, own in parts:
            if bool((own == own[0]).all()):
                raise ValueError("all images of a source are in one fold")
            found = [
                _nearest(rows.float(), block, (of.to(rows.device), own))
                for rows, of in zip(whole.split(_BATCH), folds.split(_BATCH), strict=True)
            ]
            columns.append(torch.cat(found))
        return -torch.stack(columns, 1)

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values."""
        return {"kind": NEAREST, "images": self.counts.tolist()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the images, source after source, and the number of each source's."""
        return {"pixels": self.pixels, "counts": self.counts}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> NearestNeighbour:
        """See AttributorPart."""
        counts = tensors["counts"]
        if counts.ndim != 1 or counts.min() < 0 or int(counts.sum()) != len(tensors["pixels"]):
            raise ValueError(f"{len(tensors['pixels'])} images, which its counts do not add up to")
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
        return cls(sources, tensors["pixels"], labels)


def _nearest(rows: Tensor, known: Tensor, folds: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return distances (N,), in grey levels, of rows (N, D) to the nearest known row (M, D), 8-bit.

    With `folds` of both, only rows of other folds count. The nearest is found by products of
    matrices; its distance is then that of the difference, in which nothing large cancels out.
    """
    x = rows - _GRAY
    best = torch.full((len(x),), torch.inf, device=x.device)
    which = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    step = max(1, _BLOCK // known.shape[1])
    for start in range(0, len(known), step):
        block = known[start : start + step].to(x.device).float() - _GRAY
        # |block - x|^2 without |x|^2, which all share.
        squared = block.square().sum(1) - 2.0 * (x @ block.T)
        if folds is not None:
            same = folds[0][:, None] == folds[1][start : start + step].to(x.device)
            squared.masked_fill_(same, torch.inf)
        least, place = squared.min(1)
        better = least < best
        best = torch.where(better, least, best)
        which = torch.where(better, place + start, which)
    nearest = known[which.to(known.device)].to(x.device)
    return (rows - nearest).square().mean(1).sqrt()
