"""Table and JSON of a removal, as golden files."""

from __future__ import annotations

import json

import numpy as np

from artfp.data.tables import csv_line
from artfp.passive_studies.removal.removal import Attacked
from artfp.passive_studies.removal.report import COLUMNS, attacked_json, attacked_line
from tests.golden import Golden

PIXELS = np.zeros((8, 8, 3), np.uint8)
MADE_UP = (
    Attacked("a, b.png", PIXELS, 43.21098765, 0.456789012, -0.01234567),
    Attacked("c.png", PIXELS, 99.0, 0.25, 0.25),
)


def test_table_and_json(golden: Golden) -> None:
    golden("removal.csv", csv_line(COLUMNS) + "".join(map(attacked_line, MADE_UP)))
    found = [(each.psnr, each.before, each.after) for each in MADE_UP]
    golden("removal.json", json.dumps(attacked_json(found), indent=1) + "\n")
