"""Tables of distances, as people and programs read them."""

from __future__ import annotations

import json
import math

from rich.console import Console

from artfp.metrics import report
from artfp.metrics.frechet_kernel import (
    DistanceComparison,
    DistanceContrast,
    DistanceEstimate,
)
from tests.golden import Golden

NAMES = ("frechet_effnet", "kernel_effnet")


def estimate(value: float, error: float = 0.25) -> DistanceEstimate:
    return DistanceEstimate(value, error, value - 2 * error, value + 2 * error)


FEW = DistanceEstimate(-0.21678, math.nan, math.nan, math.nan)
"""A distance of too few images for an interval."""

BOTH = DistanceContrast(estimate(2.5), estimate(0.123456), estimate(2.4), estimate(20.25, 3.0))
UNBOUNDED = DistanceContrast(estimate(0.8), estimate(0.1), estimate(0.7), None)


def shown(table: object) -> str:
    console = Console(width=100, file=None, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_one_set(golden: Golden) -> None:
    rows = report.single_rows({NAMES[0]: estimate(2.220877), NAMES[1]: FEW})
    golden("one_set.txt", shown(report.distance_table(rows, 0.95)))
    golden("one_set.csv", report.distance_csv(rows))
    golden("one_set_about.txt", report.explain(NAMES, [40, 2], 3, 0.95) + "\n")


def test_two_sets(golden: Golden) -> None:
    rows = report.compared_rows(DistanceComparison(BOTH, UNBOUNDED, UNBOUNDED), NAMES)
    golden("two_sets.txt", shown(report.distance_table(rows, 0.9)))
    golden("two_sets.csv", report.distance_csv(rows))
    written = report.distance_json(rows, {"images": {"A": 40}})
    written["software"] = "artfp"
    golden("two_sets.json", json.dumps(written, indent=1) + "\n")
