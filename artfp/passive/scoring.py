"""Vectors of several scorers on the same perturbed images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.passive.attributors.score_model import Values
from artfp.passive.fitting.image_set import ImageSet, Tick
from artfp.perturbations.conditions import Condition

_BATCH = 128


class Scorer(Protocol):
    """What turns images into vectors: a Contestant, or an attributor."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def score_vectors(self, x: Tensor) -> Values:
        """All that it sees in images (N, 3, H, W) in [0, 1], as (N, D)."""
        ...


def score_condition(
    scorers: Sequence[Scorer],
    image_set: ImageSet,
    condition: Condition,
    seed: int,
    tick: Tick,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, Values], NDArray[np.int64], dict[str, float]]:
    """Vectors of each scorer by name, the true sources (N,), and milliseconds an image."""
    vectors: dict[str, list[Values]] = {one.name: [] for one in scorers}
    spent = dict.fromkeys(vectors, 0.0)
    order = []
    for number, (rows, pixels) in enumerate(mixed_batches(image_set)):
        x = to_unit(condition.apply(pixels, seed, str(number)).to(device))
        for one in scorers:
            start = time.perf_counter()
            vectors[one.name].append(one.score_vectors(x))
            spent[one.name] += time.perf_counter() - start
        order.append(rows)
        tick(condition.name, len(rows))
    count = len(image_set)
    return (
        {name: np.concatenate(parts) for name, parts in vectors.items()},
        image_set.labels[np.concatenate(order)],
        {name: 1e3 * seconds / count for name, seconds in spent.items()},
    )


@torch.inference_mode()
def mixed_batches(image_set: ImageSet) -> list[tuple[NDArray[np.int64], Tensor]]:
    """Rows and 8-bit images, in batches that mix all sources, as draws come by the batch."""
    parts = list(image_set.batches(np.arange(len(image_set))))
    rows = np.concatenate([part for part, _ in parts])
    pixels = torch.cat([to_8bit(x) for _, x in parts])
    order = np.random.default_rng(0).permutation(len(rows))
    return [
        (rows[part], pixels[torch.from_numpy(part)])
        for part in np.array_split(order, max(1, -(-len(order) // _BATCH)))
    ]
