"""Table and JSON of a removal, as golden files."""

from __future__ import annotations

import json
from dataclasses import asdict

from artfp.passive_studies.removal.attack import RemovalMeasurement
from artfp.passive_studies.removal.report import measurements_csv, summarise
from tests.golden import Golden

MADE_UP = (
    RemovalMeasurement("a, b.png", 43.21098765, 0.456789012, -0.01234567),
    RemovalMeasurement("c.png", 99.0, 0.25, 0.25),
)


def test_table_and_json(golden: Golden) -> None:
    golden("removal.csv", measurements_csv(MADE_UP))
    golden("removal.json", json.dumps(asdict(summarise(MADE_UP)), indent=1) + "\n")
