"""Test of a comparison: every method on every image under every condition."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from artfp.comparison.methods import AttributionMethod
from artfp.comparison.scores import MethodScores, claim_thresholds, score_method
from artfp.data.reading import Failed
from artfp.data.resume import Journal
from artfp.passive.attributors.score_model import Values
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.scoring import score_condition
from artfp.perturbations.conditions import Condition

_log = logging.getLogger("artfp")


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(MethodScores):
    """Scores of a method under a condition; `strength` is None for unperturbed images."""

    method: str
    perturbation: str
    strength: float | None
    unit: str


@dataclass(frozen=True)
class MethodSummary:
    """Description and cost of a method.

    Args:
        name: Name of the method.
        about: Description.
        needs: Prerequisites.
        seconds: Seconds of the fit, with that of the network that is trained further; None for the
            proactive method, whose cost is the training of encoder and decoder, once for all.
        milliseconds: Milliseconds of scoring an image.
    """

    name: str
    about: str
    needs: str
    seconds: float | None
    milliseconds: float


@dataclass(frozen=True)
class ComparisonResult:
    """Results of `compare_attribution`.

    Args:
        sources: Names of the sources.
        unmarked: Source without a fingerprint, if any.
        images: Smallest numbers of images of a source that fitted and that tested.
        methods: Description and cost of each method.
        rows: Scores of each method under each condition.
        failed: Images that could not be used, with the reasons.
        files: Names of the files that were written.

    Example:
        >>> ComparisonResult(("dcgan", "real"), "real", (512, 488), (), (), []).unmarked
        'real'
    """

    sources: tuple[str, ...]
    unmarked: str | None
    images: tuple[int, int]
    methods: tuple[MethodSummary, ...]
    rows: tuple[ComparisonRow, ...]
    failed: Failed
    files: tuple[str, ...] = ()


def measure_methods(
    methods: Sequence[AttributionMethod],
    image_set: ImageSet,
    conditions: Sequence[Condition],
    journal: Journal,
    seed: int,
) -> tuple[list[ComparisonRow], dict[str, float]]:
    """Return the scores of all methods under all conditions, and their milliseconds an image.

    The first condition is that of unperturbed images. Scores in the journal, from an interrupted
    run, are not measured again.
    """
    known = journal.records()
    clean: dict[str, Values] = {}
    rows: list[ComparisonRow] = []
    for condition in conditions:
        keys = {one.name: f"{condition.key}/{one.name}" for one in methods}
        missing = [one for one in methods if keys[one.name] not in known]
        if missing:
            _log.info("testing: %s", condition.name)
            found, truth, milliseconds = score_condition(missing, image_set, condition, seed)
            for one in missing:
                vectors = found[one.name]
                scores = one.scores(vectors)
                if condition.strength is None:
                    clean[one.name] = claim_thresholds(scores, truth)
                elif one.name not in clean:
                    clean[one.name] = np.array(known[f"identity/{one.name}"]["thresholds"])
                rng = np.random.default_rng(seed)
                figures = score_method(vectors, truth, scores, one.pooled, clean[one.name], rng)
                record = {
                    "name": keys[one.name],
                    "figures": asdict(figures),
                    "milliseconds": milliseconds[one.name],
                    "thresholds": clean[one.name].tolist(),
                }
                journal.append(record)
                known[record["name"]] = record
        rows += [
            ComparisonRow(
                method=one.name,
                perturbation=condition.group,
                strength=condition.strength,
                unit=condition.unit,
                **_with_tuples(known[keys[one.name]]["figures"]),
            )
            for one in methods
        ]
    first = {one.name: known[f"identity/{one.name}"]["milliseconds"] for one in methods}
    return rows, first


def _with_tuples(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures from the journal, whose tuples have become lists, as they were."""
    return {**figures, "per_source": tuple(figures["per_source"])}
