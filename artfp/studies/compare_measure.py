"""The test of a comparison: every contestant on every image under every condition."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.attribution.contest import Contestant
from artfp.attribution.likelihoods import Values
from artfp.data.journal import Journal
from artfp.data.pixels import to_bytes, to_unit
from artfp.evaluation.contest import Contest, contest, thresholds
from artfp.evaluation.sweep_conditions import Condition
from artfp.studies.attribute_material import Material, Tick

_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Row(Contest):
    """Figures of a contestant under a condition; `strength` is None for unperturbed images."""

    contestant: str
    perturbation: str
    strength: float | None
    unit: str


def measure(
    contestants: Sequence[Contestant],
    material: Material,
    conditions: Sequence[Condition],
    journal: Journal,
    seed: int,
    say: Callable[[str], None],
    tick: Tick,
) -> tuple[list[Row], dict[str, float]]:
    """Rows of all contestants under all conditions, and milliseconds that each takes an image.

    The first condition is that of unperturbed images. The journal has what an earlier run found.
    """
    known = journal.records()
    fixed: dict[str, Values] = {}
    rows: list[Row] = []
    for condition in conditions:
        keys = {one.name: f"{condition.key}/{one.name}" for one in contestants}
        missing = [one for one in contestants if keys[one.name] not in known]
        if missing:
            say(f"testing: {condition.name}")
            seen, truth, paces = vectors_of(missing, material, condition, seed, tick)
            for one in missing:
                vectors = seen[one.name]
                scores = one.scores(vectors)
                if condition.strength is None:
                    fixed[one.name] = thresholds(scores, truth)
                elif one.name not in fixed:
                    fixed[one.name] = np.array(known[f"identity/{one.name}"]["thresholds"])
                draws = np.random.default_rng(seed)
                figures = contest(vectors, truth, scores, one.pooled, fixed[one.name], draws)
                record = {
                    "name": keys[one.name],
                    "figures": asdict(figures),
                    "milliseconds": paces[one.name],
                    "thresholds": fixed[one.name].tolist(),
                }
                journal.append(record)
                known[record["name"]] = record
        rows += [
            Row(
                contestant=one.name,
                perturbation=condition.group,
                strength=condition.strength,
                unit=condition.unit,
                **_tupled(known[keys[one.name]]["figures"]),
            )
            for one in contestants
        ]
    first = {one.name: known[f"identity/{one.name}"]["milliseconds"] for one in contestants}
    return rows, first


class Scorer(Protocol):
    """What turns images into vectors: a Contestant, or an attributor."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def vectors(self, x: Tensor) -> Values:
        """All that it sees in images (N, 3, H, W) in [0, 1], as (N, D)."""
        ...


def vectors_of(
    scorers: Sequence[Scorer],
    material: Material,
    condition: Condition,
    seed: int,
    tick: Tick,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, Values], NDArray[np.int64], dict[str, float]]:
    """Vectors of each scorer by name, the true sources (N,), and milliseconds an image."""
    vectors: dict[str, list[Values]] = {one.name: [] for one in scorers}
    spent = dict.fromkeys(vectors, 0.0)
    order = []
    for number, (rows, pixels) in enumerate(mixed_batches(material)):
        x = to_unit(condition.apply(pixels, seed, str(number)).to(device))
        for one in scorers:
            start = time.perf_counter()
            vectors[one.name].append(one.vectors(x))
            spent[one.name] += time.perf_counter() - start
        order.append(rows)
        tick(condition.name, len(rows))
    count = len(material)
    return (
        {name: np.concatenate(parts) for name, parts in vectors.items()},
        material.labels[np.concatenate(order)],
        {name: 1e3 * seconds / count for name, seconds in spent.items()},
    )


@torch.inference_mode()
def mixed_batches(material: Material) -> list[tuple[NDArray[np.int64], Tensor]]:
    """Rows and 8-bit images, in batches that mix all sources, as draws come by the batch."""
    parts = list(material.batches(np.arange(len(material))))
    rows = np.concatenate([part for part, _ in parts])
    pixels = torch.cat([to_bytes(x) for _, x in parts])
    order = np.random.default_rng(0).permutation(len(rows))
    return [
        (rows[part], pixels[torch.from_numpy(part)])
        for part in np.array_split(order, max(1, -(-len(order) // _BATCH)))
    ]


def _tupled(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures from the journal, whose tuples have become lists."""
    return {**figures, "per_source": tuple(figures["per_source"])}
