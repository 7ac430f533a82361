"""Working ranges of accuracies that are given."""

from __future__ import annotations

import pytest

from artfp.perturbations.conditions import Condition
from artfp.perturbations.registry import PERTURBATIONS
from artfp.robustness.sweep import SweepRow
from artfp.robustness.working_range import WorkingRange, working_ranges


def row(name: str, strength: float | None, accuracy: float | None, tpr: float | None) -> SweepRow:
    return SweepRow(
        method="c", image_set="s", perturbation=name, strength=strength, unit="",
        images=1, sources=1, bits=8, bit_accuracy=accuracy, bit_accuracy_q05=accuracy,
        source_accuracy=None, tpr=tpr, tpr_low=tpr, tpr_high=tpr, threshold="exact", fpr=0.1,
        fpr_high=0.1, negatives=0, false_positives=None,
    )  # fmt: skip


def ranges(
    name: str, values: dict[float, float], clean: float = 1.0
) -> tuple[WorkingRange, WorkingRange]:
    rows = [row("identity", None, clean, clean)]
    rows += [row(name, s, value, value) for s, value in values.items()]
    conditions = [Condition(), *(Condition(PERTURBATIONS[name], s) for s in values)]
    first, second = working_ranges(rows, conditions)
    return first, second


@pytest.mark.parametrize(
    ("name", "values", "clean", "accuracy", "tpr"),
    [
        ("jpeg", {90: 1.0, 50: 0.95, 10: 0.7}, 1.0, "to 50", "to 90"),
        ("jpeg", {90: 1.0, 50: 0.99, 10: 1.0}, 1.0, "all, to 10", "all, to 10"),
        ("jpeg", {90: 0.8, 50: 0.95, 10: 0.99}, 1.0, "none", "none"),
        ("noise", {0.01: 1.0, 0.02: 0.8, 0.05: 1.0}, 1.0, "to 0.01", "to 0.01"),
        ("noise", {0.01: 1.0}, 0.8, "none", "none"),
        ("brightness", {0.75: 1, 0.5: 0.9, 1.5: 0.92, 2: 0.5}, 1.0, "0.5 to 1.5", "0.75 to 1"),
        ("brightness", {0.5: 1, 1.5: 1}, 1.0, "all, 0.5 to 1.5", "all, 0.5 to 1.5"),
        ("brightness", {0.5: 0.2, 1.5: 0.2}, 1.0, "none", "none"),
    ],
)
def test_in_words(
    name: str, values: dict[float, float], clean: float, accuracy: str, tpr: str
) -> None:
    found = ranges(name, values, clean)
    assert [str(each) for each in found] == [accuracy, tpr]
    assert [each.figure for each in found] == ["bit_accuracy", "tpr"]
    assert [each.least for each in found] == [0.9, 0.99]


def test_reaches() -> None:
    found, _ = ranges("brightness", {0.75: 1, 0.5: 0.1, 1.5: 0.1})
    assert found.reaches == (0.75, None) and not found.whole


def test_figures_without_values_have_no_range() -> None:
    rows = [row("identity", None, None, 1.0), row("jpeg", 50.0, None, 1.0)]
    found = working_ranges(rows, [Condition(), Condition(PERTURBATIONS["jpeg"], 50.0)])
    assert [each.figure for each in found] == ["tpr"]
