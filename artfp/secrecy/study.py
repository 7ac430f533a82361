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
from artfp.core.progress import Progress
from artfp.data.geometry import Geometry
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, read_images
from artfp.data.sources import ImageSource
from artfp.metrics.fidelity import psnr
from artfp.secrecy.linear import (
    Pair,
    SecrecyScorer,
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
_VALIDATION_SHARE = 0.2
_BATCH = 128
_TRIES = 6
_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class AttackedEncoder:
    """An encoder that is attacked: its name, and another of its architecture, if there is one."""

    name: str
    encoder: Encoder
    other: Encoder | None = None


@dataclass(frozen=True)
class Attack:
    """One attack: what is attacked, by whom, with how many images of each class."""

    target: str
    threat: str
    images: int
    attacker: str

    def name(self) -> str:
        """Return the text that identifies the attack."""
        return f"{self.target}/{self.threat}/{self.images}/{self.attacker}"


@dataclass(frozen=True)
class SecrecyRow:
    """Result of an attack.

    `auc` on `test_images` of each class, with its 95% interval; `psnr` in dB, the mean over the
    fingerprinted test images; `seconds` of training.
    """

    attack: Attack
    auc: float
    low: float
    high: float
    test_images: int
    psnr: float
    seconds: float


@dataclass(frozen=True)
class AttackImages:
    """Clean images, 8-bit (N, 3, S, S), in four parts of different originals.

    `clean` and `to_mark` are the attacker's, `test_clean` and `test_to_mark` for the test.
    """

    clean: Tensor
    to_mark: Tensor
    test_clean: Tensor
    test_to_mark: Tensor


def draw_images(
    source: ImageSource, side: int, most: int, test_images: int, seed: int = 0
) -> tuple[AttackImages, list[tuple[str, str]]]:
    """Draw the clean images of a study from a source, without replacement.

    Args:
        source: Images, of which centre squares are taken; unusable ones are passed over.
        side: Side of the squares in pixels, after resizing.
        most: Images of each class in training, at most.
        test_images: Images of each class in the test.
        seed: Seed of the order.

    Returns:
        The images, and (name, reason) of those that could not be read.

    Raises:
        UserError: too few images.
    """
    needed = 2 * (most + test_images)
    failed: Failed = []
    pixels = np.empty((needed, side, side, 3), np.uint8)
    geometry, found = Geometry(side), 0
    order = np.random.default_rng((seed, 0)).permutation(len(source)).tolist()
    with Progress("reading images", needed) as progress:
        for image in read_images(source, failed, order, geometry):
            pixels[found] = image.pixels
            found += 1
            progress.advance()
            if found == needed:
                break
    if found < needed:
        raise UserError(
            f"{source.location} has {found} usable images; {most} clean and {most} fingerprinted "
            f"ones to train on and {test_images} of each to test on take {needed}; "
            "lower --sizes or --test_images"
        )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    # The test comes first, so that it is the same whatever the sizes.
    test_clean, test_to_mark, rest = images.split([test_images, test_images, 2 * most])
    return AttackImages(rest[0::2], rest[1::2], test_clean, test_to_mark), failed


@torch.inference_mode()
def embed_messages(encoder: Encoder, pixels: Tensor, messages: Tensor, gain: float = 1.0) -> Tensor:
    """Embed messages (N, bits) in 8-bit images (N, 3, S, S), with a factor on the residual."""
    parts = zip(pixels.split(_BATCH), messages.split(_BATCH), strict=True)
    return torch.cat([add_residual(x, _residual(encoder, x, w) * gain) for x, w in parts])


def gain_for_psnr(encoder: Encoder, pixels: Tensor, target: float) -> float:
    """Return the factor on residuals that brings the mean PSNR of 8-bit images to `target` dB.

    Clipped and rounded as in `embed_messages`; one factor for all images, so an encoder that
    adapts its strength to the image still does. Random messages.
    """
    messages, gain = random_messages(len(pixels), encoder.bits, 0), 1.0
    for _ in range(_TRIES):
        found = float(
            psnr(to_unit(embed_messages(encoder, pixels, messages, gain)), to_unit(pixels)).mean()
        )
        gain *= 10.0 ** ((found - target) / 20.0)
    return gain


def random_messages(count: int, bits: int, *seed: int) -> Tensor:
    """Draw messages (count, bits) from a seed, for measurements only: they are no secret."""
    drawn = np.random.default_rng(seed).integers(0, 2, (count, bits))
    return torch.from_numpy(drawn).float()


def train_network(training: Pair, validation: Pair, seed: int) -> SecrecyScorer:
    """Train the residual network; see `artfp.secrecy.network`."""
    network = train_steganalyser(training, validation, seed)

    @torch.inference_mode()
    def score(pixels: Tensor) -> np.ndarray:
        return torch.cat([network(to_unit(x)) for x in pixels.split(_BATCH)]).double().numpy()

    return score


ATTACKERS: dict[str, Callable[[Pair, Pair, int], SecrecyScorer]] = {
    "network": train_network,
    "mean_residual": lambda training, validation, _: mean_residual(training, validation),
    "lda": lambda training, validation, _: linear_discriminant(training, validation),
    "spectrum": lambda training, validation, _: spectrum_discriminant(training, validation),
}
"""Attackers by name: training images, validation images and a seed to a scorer."""


def attacks_on(
    target: AttackedEncoder, sizes: Sequence[int], attackers: Sequence[str]
) -> list[Attack]:
    """Return all attacks on an encoder, those with few images first."""
    threats = THREATS if target.other is not None else THREATS[:2]
    return [
        Attack(target.name, threat, size, attacker)
        for threat in threats
        for size in sorted(sizes)
        for attacker in attackers
    ]


def run_attacks(
    target: AttackedEncoder,
    todo: Sequence[Attack],
    attack_images: AttackImages,
    seed: int = 0,
    target_psnr: float | None = None,
) -> Iterator[SecrecyRow]:
    """Run attacks on one encoder; each row comes when it is known.

    Args:
        target: Encoder that is attacked.
        todo: Attacks on it.
        attack_images: Clean images of the attacker and of the test.
        seed: Seed of the messages and of the attackers' weights.
        target_psnr: PSNR in dB that the residuals of both encoders are scaled to; None: as they
            are.

    Yields:
        The row of each attack.
    """
    for threat in dict.fromkeys(attack.threat for attack in todo):
        training, test = _marked(target, threat, attack_images, seed, target_psnr)
        fidelity = float(psnr(to_unit(test), to_unit(attack_images.test_to_mark)).mean())
        for attack in (each for each in todo if each.threat == threat):
            start = time.monotonic()
            kept = attack.images - max(1, round(_VALIDATION_SHARE * attack.images))
            both = attack_images.clean[: attack.images], training[: attack.images]
            score = ATTACKERS[attack.attacker](
                (both[0][:kept], both[1][:kept]), (both[0][kept:], both[1][kept:]), seed
            )
            seconds = time.monotonic() - start
            area = auc(score(attack_images.test_clean), score(test))
            low, high = auc_interval(area, len(test), len(test))
            _log.info("%s: AUC %.3f (%.0f s)", attack.name(), area, seconds)
            yield SecrecyRow(attack, area, low, high, len(test), fidelity, seconds)


def _marked(
    target: AttackedEncoder,
    threat: str,
    attack_images: AttackImages,
    seed: int,
    target_psnr: float | None,
) -> tuple[Tensor, Tensor]:
    """Fingerprinted images: the attacker's, and those of the test."""
    theirs = target.other if threat == "other_encoder" else target.encoder
    assert theirs is not None
    marked = []
    for use, (encoder, images) in enumerate(
        ((theirs, attack_images.to_mark), (target.encoder, attack_images.test_to_mark))
    ):
        gain = 1.0
        if target_psnr is not None:
            gain = gain_for_psnr(encoder, attack_images.test_to_mark[:256], target_psnr)
        if threat == "same_fingerprint":
            messages = random_messages(1, encoder.bits, seed, 1).expand(len(images), -1)
        else:
            messages = random_messages(len(images), encoder.bits, seed, 2 + use)
        marked.append(embed_messages(encoder, images, messages, gain))
    return marked[0], marked[1]


def _residual(encoder: Encoder, pixels: Tensor, messages: Tensor) -> Tensor:
    """Residuals for 8-bit images (N, 3, S, S) of any side."""
    return encoder.residual(network_input(pixels, encoder.resolution), messages)
