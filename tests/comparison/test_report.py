"""The report of a comparison, from figures made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from artfp.comparison.measure import ComparisonResult, ComparisonRow, MethodSummary
from artfp.comparison.report import write_comparison
from artfp.perturbations.conditions import choose
from tests.golden import Golden

CONDITIONS = choose(["jpeg"], {"jpeg": [90, 30]})


def found() -> ComparisonResult:
    rows = tuple(
        ComparisonRow(
            accuracy=0.9 - number / 10 - place / 30, per_source=(0.75, 1.0 - number / 9),
            tpr=0.5 / (1 + number), fixed_tpr=0.5, fixed_fpr=number / 97,
            images=4 if number == 0 else None,
            method=name, perturbation=condition.group, strength=condition.strength,
            unit=condition.unit,
        )
        for number, condition in enumerate(CONDITIONS)
        for place, name in enumerate(("proactive", "residual"))
    )  # fmt: skip
    methods = (
        MethodSummary("proactive", "Reads bits.", "decoder", None, 1.25),
        MethodSummary("residual", "Correlates.", "images", 12.4, 0.123456),
    )
    return ComparisonResult(
        ("a", "b"), "photos", (100, 40), methods, rows, [("a/x.png", "damaged")]
    )


def test_files(golden: Golden, tmp_path: Path) -> None:
    names = write_comparison(found(), CONDITIONS, {"seed": 0}, tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    for name in ("compare.csv", "compare.md"):
        golden(name, (tmp_path / name).read_text())
    assert json.loads((tmp_path / "compare.json").read_text())["unusable"] == [
        ["a/x.png", "damaged"]
    ]
