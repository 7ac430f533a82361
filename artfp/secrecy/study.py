"""Secrecy: can someone without the key tell fingerprinted images from clean ones?

An attacker has N clean and N fingerprinted images, of different originals, trains a detector on
them, and is tested on images that nobody trained on: the AUC, 0.5 for chance. What he has depends
on the threat:

- `same_fingerprint`: the owner's data set leaked in part. All fingerprinted images, of training and
  test, carry one fingerprint, as a fingerprinted data set does. He has neither encoder nor key.
- `other_fingerprints`: the images come from many owners who use the same encoder. Each image, of
  training and test, has a random fingerprint of its own. He has neither encoder nor key.
- `other_encoder`: he has the architecture and the training recipe, trains an encoder of his own and
  puts random fingerprints into his own images with it. The test images are the owner's encoder's,
  with random fingerprints.

He knows which of his images are fingerprinted: this is the strong attacker of the literature. Where
fingerprints are random the AUC is a mean over owners.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.geometry import Geometry
from artfp.data.pixels import to_unit
from artfp.data.sources import ImageSource
from artfp.metrics.fidelity import psnr
from artfp.secrecy.linear import (
    Pair,
    Scorer,
    linear_discriminant,
    mean_residual,
    spectrum_discriminant,
)
from artfp.secrecy.steganalyser import train_steganalyser
from artfp.stats.intervals import auc, auc_interval
from artfp.watermark import Encoder
from artfp.watermark.api import network_input
from artfp.watermark.networks.base import add_residual

THREATS = ("same_fingerprint", "other_fingerprints", "other_encoder")
LEAST = 20
"""Images of each class below which no attacker is trained: a fifth of them is for validation."""

_VALIDATION_SHARE = 0.2
_BATCH = 128
_TRIES = 6
_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class Suspect:
    """An encoder that is attacked: its name, and another of its architecture, if there is one."""

    name: str
    encoder: Encoder
    other: Encoder | None = None


@dataclass(frozen=True)
class Cell:
    """One attack: what is attacked, by whom, with how many images of each class."""

    suspect: str
    threat: str
    images: int
    attacker: str

    def name(self) -> str:
        """The words that tell it from all others."""
        return f"{self.suspect}/{self.threat}/{self.images}/{self.attacker}"


@dataclass(frozen=True)
class Row:
    """What came of an attack.

    `auc` on `test_images` of each class, with its 95% interval; `psnr` in dB, the mean over the
    fingerprinted test images; `seconds` of training.
    """

    cell: Cell
    auc: float
    low: float
    high: float
    test_images: int
    psnr: float
    seconds: float


@dataclass(frozen=True)
class Material:
    """Clean images, 8-bit (N, 3, S, S), in four parts of different originals.

    `clean` and `to_mark` are the attacker's, `test_clean` and `test_to_mark` for the test.
    """

    clean: Tensor
    to_mark: Tensor
    test_clean: Tensor
    test_to_mark: Tensor


def gather(
    source: ImageSource, side: int, most: int, test_images: int, seed: int = 0
) -> tuple[Material, list[tuple[str, str]]]:
    """Images of a source for up to `most` in training and `test_images` in the test, a class each.

    Their centre squares at `side` pixels, drawn without replacement; unusable ones are passed over.
    Returns the images, and (name, reason) of those that could not be read.
    Raises UserError: too few images.
    """
    needed, failed = 2 * (most + test_images), []
    pixels = np.empty((needed, side, side, 3), np.uint8)
    geometry, found = Geometry(side), 0
    for index in np.random.default_rng((seed, 0)).permutation(len(source)).tolist():
        if found == needed:
            break
        try:
            pixels[found] = geometry(decode_image(source.read(index)).pixels)
            found += 1
        except ImageError as error:
            failed.append((source.names[index], str(error)))
    if found < needed:
        raise UserError(
            f"{source.location} has {found} usable images; {most} clean and {most} fingerprinted "
            f"ones to train on and {test_images} of each to test on take {needed}; "
            "lower --sizes or --test_images"
        )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    # The test comes first, so that it is the same whatever the sizes.
    test_clean, test_to_mark, rest = images.split([test_images, test_images, 2 * most])
    return Material(rest[0::2], rest[1::2], test_clean, test_to_mark), failed


@torch.inference_mode()
def mark(encoder: Encoder, pixels: Tensor, words: Tensor, gain: float = 1.0) -> Tensor:
    """Images (N, 3, S, S) with words (N, bits) in them, both 8-bit; `gain` on the residual."""
    parts = zip(pixels.split(_BATCH), words.split(_BATCH), strict=True)
    return torch.cat([add_residual(x, _residual(encoder, x, w) * gain) for x, w in parts])


def gain_for(encoder: Encoder, pixels: Tensor, target: float) -> float:
    """The factor on all residuals that brings the mean PSNR over 8-bit images to `target` dB.

    Clipped and rounded as in `mark`; one factor for all images, so an encoder that adapts its
    strength to the image still does. Random words.
    """
    words, gain = random_words(len(pixels), encoder.bits, 0), 1.0
    for _ in range(_TRIES):
        found = float(psnr(to_unit(mark(encoder, pixels, words, gain)), to_unit(pixels)).mean())
        gain *= 10.0 ** ((found - target) / 20.0)
    return gain


def random_words(count: int, bits: int, *seed: int) -> Tensor:
    """Words (count, bits) of a study: for measuring only, as whoever knows the seed knows them."""
    drawn = np.random.default_rng(seed).integers(0, 2, (count, bits))
    return torch.from_numpy(drawn).float()


def train_network(training: Pair, validation: Pair, seed: int) -> Scorer:
    """The residual network; see `artfp.secrecy.network`."""
    network = train_steganalyser(training, validation, seed)

    @torch.inference_mode()
    def score(pixels: Tensor) -> np.ndarray:
        return torch.cat([network(to_unit(x)) for x in pixels.split(_BATCH)]).double().numpy()

    return score


ATTACKERS: dict[str, Callable[[Pair, Pair, int], Scorer]] = {
    "network": train_network,
    "mean_residual": lambda training, validation, _: mean_residual(training, validation),
    "lda": lambda training, validation, _: linear_discriminant(training, validation),
    "spectrum": lambda training, validation, _: spectrum_discriminant(training, validation),
}
"""Attackers by name: training images, validation images and a seed to a scorer."""


def cells(suspect: Suspect, sizes: Sequence[int], attackers: Sequence[str]) -> list[Cell]:
    """All attacks on a suspect, those with few images first."""
    threats = THREATS if suspect.other is not None else THREATS[:2]
    return [
        Cell(suspect.name, threat, size, attacker)
        for threat in threats
        for size in sorted(sizes)
        for attacker in attackers
    ]


def attack(
    suspect: Suspect,
    todo: Sequence[Cell],
    material: Material,
    seed: int = 0,
    target_psnr: float | None = None,
) -> Iterator[Row]:
    """Carry out attacks on one suspect; each row comes when it is known.

    Args: `todo`, cells of this suspect; `target_psnr`, what its residuals are scaled to, in dB,
    and those of the attacker's own encoder.
    """
    for threat in dict.fromkeys(cell.threat for cell in todo):
        training, test = _marked(suspect, threat, material, seed, target_psnr)
        fidelity = float(psnr(to_unit(test), to_unit(material.test_to_mark)).mean())
        for cell in (each for each in todo if each.threat == threat):
            start = time.monotonic()
            kept = cell.images - max(1, round(_VALIDATION_SHARE * cell.images))
            both = material.clean[: cell.images], training[: cell.images]
            score = ATTACKERS[cell.attacker](
                (both[0][:kept], both[1][:kept]), (both[0][kept:], both[1][kept:]), seed
            )
            seconds = time.monotonic() - start
            area = auc(score(material.test_clean), score(test))
            low, high = auc_interval(area, len(test), len(test))
            _log.info("%s: AUC %.3f (%.0f s)", cell.name(), area, seconds)
            yield Row(cell, area, low, high, len(test), fidelity, seconds)


def _marked(
    suspect: Suspect, threat: str, material: Material, seed: int, target_psnr: float | None
) -> tuple[Tensor, Tensor]:
    """Fingerprinted images: the attacker's, and those of the test."""
    theirs = suspect.other if threat == "other_encoder" else suspect.encoder
    assert theirs is not None
    marked = []
    for use, (encoder, images) in enumerate(
        ((theirs, material.to_mark), (suspect.encoder, material.test_to_mark))
    ):
        gain = 1.0
        if target_psnr is not None:
            gain = gain_for(encoder, material.test_to_mark[:256], target_psnr)
        if threat == "same_fingerprint":
            words = random_words(1, encoder.bits, seed, 1).expand(len(images), -1)
        else:
            words = random_words(len(images), encoder.bits, seed, 2 + use)
        marked.append(mark(encoder, images, words, gain))
    return marked[0], marked[1]


def _residual(encoder: Encoder, pixels: Tensor, words: Tensor) -> Tensor:
    """Residuals for 8-bit images (N, 3, S, S) of any side."""
    return encoder.residual(network_input(pixels, encoder.resolution), words)
