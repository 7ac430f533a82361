"""Orientations of an image, and a decoder that tries them: mirrored, and turned by quarters."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from artfp.watermark.networks.base import Decoder

CLEAR_CERTAINTY = 0.98
"""Mean probability that the logits give to their own bits from which nothing else is tried."""


def orientation_margin(bits: int) -> float:
    """Return the factor by which another reading must be surer than that of the image as it is.

    Which of several readings of a weak fingerprint is surest is a matter of chance: without a
    margin a third of the images that carry 0.3 of their residual are read another way round than
    they lie, with it 1% (64 bits, `benchmarks/orientation.py`). Chance is larger where sureness is
    a mean over few bits: the factor is 1.2 for 100 bits, 1.5 for 16.
    """
    return 1.0 + 2.0 / math.sqrt(bits)


class Orientation(NamedTuple):
    """Counter-clockwise quarter turns of an image, and whether it was mirrored before them."""

    turns: int
    mirrored: bool

    def undo(self, x: Tensor) -> Tensor:
        """Return images (N, C, R, R) put upright."""
        upright = x.rot90(-self.turns, (-2, -1))
        return upright.flip(-1) if self.mirrored else upright

    def __str__(self) -> str:
        words = ["mirrored"] * self.mirrored + [f"turned by {90 * self.turns} degrees"]
        return ", ".join(words if self.turns else words[:-1])


ORIENTATIONS = tuple(
    Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)
)
"""All eight, the upright first."""


class OrientingDecoder(Decoder):
    """Decoder that also decodes an image mirrored and turned, and takes what is clearly surest.

    For architectures that see neither mirroring nor turns. Sureness is the mean magnitude of the
    logits; the mirrored image must be surer than the image as it is by `orientation_margin`, one of
    the six that are turned by twice as much. The choice knows no key, so the p-value of the decoded
    bits needs no correction for it.

    Args:
        decoder: Decoder of images that are upright.
        margin: Factor by which the mirrored image must be surer, if not `orientation_margin`; 1
            takes the surest of all.
    """

    @staticmethod
    def check_shape(bits: int, resolution: int) -> None:
        """Check nothing: the class of the decoder has."""

    searched = (
        "images as they are, mirrored, turned by 90, 180 or 270 degrees, without their borders, "
        "and as a picture of a collage"
    )

    def __init__(self, decoder: Decoder, margin: float | None = None) -> None:
        super().__init__(decoder.bits, decoder.resolution)
        self.decoder = decoder
        self.architecture = decoder.architecture
        self.margin = orientation_margin(decoder.bits) if margin is None else margin

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, bits) of images (N, 3, R, R) in [0, 1]."""
        return self.decode(x, torch.ones(len(x)))[0]

    def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """Return logits and notes, see Decoder."""
        logits = self.decoder(x)
        as_it_is = logits.abs().mean(dim=1)
        sureness = as_it_is.clone()
        chosen = [0] * len(x)
        for number, orientation in enumerate(ORIENTATIONS[1:], 1):
            certainty = logits.abs().sigmoid().mean(dim=1)
            unclear = (certainty < CLEAR_CERTAINTY).nonzero().flatten()
            if not len(unclear):
                break
            other = self.decoder(orientation.undo(x[unclear]))
            value = other.abs().mean(dim=1)
            margin = 2.0 * self.margin - 1.0 if orientation.turns else self.margin
            surer = (value > sureness[unclear]) & (value > margin * as_it_is[unclear])
            where = unclear[surer]
            logits = logits.index_copy(0, where, other[surer])
            sureness[where] = value[surer]
            for slot in where.tolist():
                chosen[slot] = number
        return logits, [str(ORIENTATIONS[number]) for number in chosen]
