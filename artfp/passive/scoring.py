"""Score vectors of several methods for the same perturbed images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.progress import track
from artfp.data.pixels import to_8bit, to_unit
from artfp.passive.attributors.score_model import Values
from artfp.passive.fitting.image_set import ImageSet
from artfp.perturbations.conditions import Condition

_BATCH = 128


class Scorer(Protocol):
    """A method that maps images to score vectors, such as an attributor."""

    @property
    def name(self) -> str:
        """Name of the method."""
        ...

    def score_vectors(self, x: Tensor) -> Values:
        """Return score vectors (N, D) of images (N, 3, H, W) in [0, 1]."""
        ...


def score_condition(
    scorers: Sequence[Scorer],
    image_set: ImageSet,
    condition: Condition,
    seed: int,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, Values], NDArray[np.int64], dict[str, float]]:
    """Score the images of a set under a condition, each image perturbed once for all methods.

    Args:
        scorers: The methods.
        image_set: The images.
        condition: Perturbation and strength.
        seed: Seed of the perturbation.
        device: Where the images are scored.

    Returns:
        Score vectors of each method by name; the true sources (N,); milliseconds an image.
    """
    vectors: dict[str, list[Values]] = {one.name: [] for one in scorers}
    seconds = dict.fromkeys(vectors, 0.0)
    order = []
    batches = enumerate(mixed_batches(image_set))
    caption, count = f"Scoring, {condition.name}", len(image_set)
    for number, (rows, pixels) in track(batches, count, caption, lambda item: len(item[1][0])):
        x = to_unit(condition.apply(pixels, seed, str(number)).to(device))
        for one in scorers:
            start = time.perf_counter()
            vectors[one.name].append(one.score_vectors(x))
            seconds[one.name] += time.perf_counter() - start
        order.append(rows)
    return (
        {name: np.concatenate(parts) for name, parts in vectors.items()},
        image_set.labels[np.concatenate(order)],
        {name: 1e3 * spent / count for name, spent in seconds.items()},
    )


@torch.inference_mode()
def mixed_batches(image_set: ImageSet) -> list[tuple[NDArray[np.int64], Tensor]]:
    """Return rows and 8-bit images in batches that mix all sources; draws are made by the batch."""
    parts = list(image_set.batches())
    rows = np.concatenate([part for part, _ in parts])
    pixels = torch.cat([to_8bit(x) for _, x in parts])
    order = np.random.default_rng(0).permutation(len(rows))
    return [
        (rows[part], pixels[torch.from_numpy(part)])
        for part in np.array_split(order, max(1, -(-len(order) // _BATCH)))
    ]
