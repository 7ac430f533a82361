"""Test whether a fingerprint comes through a generator: its images decoded, with verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.reading import Failed, batch_images, read_images, stack_pixels
from artfp.data.sources import ImageSource
from artfp.stats import bonferroni, evaluate_source
from artfp.watermark import Decoder
from artfp.watermark.api import decode_logits

REGISTERED = 1_000_000
"""Number of fingerprints that a verdict is corrected for by default."""

COUNTS = (1, 10, 100)
"""Numbers of images that verdicts are given on."""

_MOST_GROUPS = 100

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class VerdictOn:
    """Outcome of the test of `artfp detect --same_source` on groups of `images` images each.

    `log10_p` is the median over the `groups`, of the one key; `log10_p_corrected` that of all
    registered fingerprints (Bonferroni); `found` the share of groups whose corrected p-value is at
    most `alpha`.
    """

    images: int
    groups: int
    log10_p: float
    log10_p_corrected: float
    found: float
    alpha: float


@dataclass(frozen=True)
class Transferred:
    """Figures of N images of one source for one fingerprint.

    `bit_accuracy` is the mean over the images, with its standard error over images and what 5% and
    95% of the images fall under; `majority` is the share of bits that the mean logits have right.
    """

    images: int
    bits: int
    bit_accuracy: float
    error: float
    low: float
    high: float
    majority: float
    verdicts: tuple[VerdictOn, ...]

    def on(self, images: int) -> VerdictOn | None:
        """Return the verdict on groups of so many images, or None."""
        return next((v for v in self.verdicts if v.images == images), None)


@dataclass(frozen=True)
class TransferRow:
    """Figures of the images of one generator, with its group and the steps of its training."""

    group: str
    steps: int
    read: Transferred


@dataclass(frozen=True)
class InData:
    """Figures of the fingerprinted training images: mean PSNR in dB, and what they decode to."""

    psnr: float
    read: Transferred


def bit_accuracies(logits: Logits, fingerprints: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the bit accuracy of each image, (N,), of logits (N, bits) for 1 or N fingerprints."""
    right = (logits > 0) == (np.atleast_2d(fingerprints) > 0)
    accuracies: NDArray[np.float64] = right.mean(axis=1, dtype=np.float64)
    return accuracies


def transferred(
    logits: Logits,
    fingerprint: NDArray[np.uint8],
    counts: Sequence[int] = COUNTS,
    registered: int = REGISTERED,
    alpha: float = 1e-3,
) -> Transferred:
    """Return the figures of images' logits (N, bits) for a fingerprint (bits,).

    Verdicts are given on disjoint groups of each of `counts` up to N, at most 100 of them.
    Raises ValueError: no image, or a fingerprint of another length.
    """
    if logits.ndim != 2 or not len(logits) or logits.shape[1] != len(fingerprint):
        raise ValueError(
            f"logits of shape {logits.shape} for a fingerprint of {len(fingerprint)} bits"
        )
    accuracies = bit_accuracies(logits, fingerprint)
    spread = float(accuracies.std(ddof=1)) if len(accuracies) > 1 else math.nan
    return Transferred(
        images=len(accuracies),
        bits=len(fingerprint),
        bit_accuracy=float(accuracies.mean()),
        error=spread / math.sqrt(len(accuracies)),
        low=float(np.quantile(accuracies, 0.05)),
        high=float(np.quantile(accuracies, 0.95)),
        majority=float(((logits.mean(axis=0) > 0) == (fingerprint > 0)).mean()),
        verdicts=tuple(
            _verdict(logits, fingerprint, count, registered, alpha)
            for count in counts
            if count <= len(logits)
        ),
    )


def _verdict(
    logits: Logits, fingerprint: NDArray[np.uint8], count: int, registered: int, alpha: float
) -> VerdictOn:
    groups = min(len(logits) // count, _MOST_GROUPS)
    parts = logits[: groups * count].reshape(groups, count, -1)
    log_p = np.array([evaluate_source(part, fingerprint[None]).log_p[0] for part in parts])
    corrected = np.asarray(bonferroni(log_p, registered))
    return VerdictOn(
        images=count,
        groups=groups,
        log10_p=float(np.median(log_p)) / math.log(10.0),
        log10_p_corrected=float(np.median(corrected)) / math.log(10.0),
        found=float((corrected <= math.log(alpha)).mean()),
        alpha=alpha,
    )


def decode_source(
    decoder: Decoder, source: ImageSource, limit: int | None = None
) -> tuple[Logits, Failed]:
    """Return the logits (N, bits) of the first images of a source, and those that were unusable.

    Images of equal sizes stand together. Raises UserError: no image could be used.
    """
    failed: Failed = []
    count = len(source) if limit is None else min(limit, len(source))
    found = []
    with Progress("Decoding", count) as progress:
        images = read_images(source, failed, range(count), progress=progress)
        for batch in batch_images(images, pixels=1 << 21):
            pixels = stack_pixels([image.pixels for image in batch])
            found.append(decode_logits(decoder, pixels).numpy())
    if not found:
        raise UserError(f"{source.location}: none of {count} images can be read ({failed[0][1]})")
    return np.concatenate(found), failed
