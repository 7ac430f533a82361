"""Table and JSON of a localisation, as golden files."""

from __future__ import annotations

import json

import numpy as np

from artfp.data.tables import csv_line
from artfp.passive_studies.localisation.localise import Located
from artfp.passive_studies.localisation.report import COLUMNS, image_json, window_lines
from tests.golden import Golden


def made_up() -> Located:
    windows = np.linspace(-0.5, 0.5, 25, dtype=np.float32).reshape(5, 5)
    heat = np.linspace(-0.5, 0.5, 64, dtype=np.float32).reshape(8, 8)
    return Located("a, b.png", 4, 0.123456789, np.zeros((8, 8, 3), np.uint8), windows, heat)


def test_table_and_json(golden: Golden) -> None:
    located = made_up()
    golden("windows.csv", csv_line(COLUMNS) + window_lines(located))
    told = [image_json(located, None), image_json(located, 0.1)]
    golden("images.json", json.dumps(told, indent=1) + "\n")
