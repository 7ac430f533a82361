"""The test of a comparison: every methods on every image under every condition."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from artfp.comparison.methods import ComparedMethod
from artfp.comparison.scores import Contest, contest, thresholds
from artfp.data.resume import Journal
from artfp.passive.attributors.score_model import Values
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.scoring import score_condition
from artfp.perturbations.conditions import Condition

_log = logging.getLogger("artfp")


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(Contest):
    """Figures of a methods under a condition; `strength` is None for unperturbed images."""

    contestant: str
    perturbation: str
    strength: float | None
    unit: str


def measure(
    methods: Sequence[ComparedMethod],
    image_set: ImageSet,
    conditions: Sequence[Condition],
    journal: Journal,
    seed: int,
) -> tuple[list[ComparisonRow], dict[str, float]]:
    """Rows of all methods under all conditions, and milliseconds that each takes an image.

    The first condition is that of unperturbed images. The journal has what an earlier run found.
    """
    known = journal.records()
    fixed: dict[str, Values] = {}
    rows: list[ComparisonRow] = []
    for condition in conditions:
        keys = {one.name: f"{condition.key}/{one.name}" for one in methods}
        missing = [one for one in methods if keys[one.name] not in known]
        if missing:
            _log.info("testing: %s", condition.name)
            seen, truth, paces = score_condition(missing, image_set, condition, seed)
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
            ComparisonRow(
                contestant=one.name,
                perturbation=condition.group,
                strength=condition.strength,
                unit=condition.unit,
                **_tupled(known[keys[one.name]]["figures"]),
            )
            for one in methods
        ]
    first = {one.name: known[f"identity/{one.name}"]["milliseconds"] for one in methods}
    return rows, first


def _tupled(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures from the journal, whose tuples have become lists."""
    return {**figures, "per_source": tuple(figures["per_source"])}
