"""Table and JSON of a localisation, as golden files."""

from __future__ import annotations

import json

import numpy as np

from artfp.data.tables import csv_table
from artfp.passive_studies.localisation.report import WINDOW_COLUMNS, image_record, window_rows
from artfp.passive_studies.localisation.windows import HeatMap
from tests.golden import Golden


def made_up() -> HeatMap:
    windows = np.linspace(-0.5, 0.5, 25, dtype=np.float32).reshape(5, 5)
    heat = np.linspace(-0.5, 0.5, 64, dtype=np.float32).reshape(8, 8)
    return HeatMap("a, b.png", 4, 0.123456789, np.zeros((8, 8, 3), np.uint8), windows, heat)


def test_table_and_json(golden: Golden) -> None:
    image = made_up()
    golden("windows.csv", csv_table(window_rows(image), WINDOW_COLUMNS))
    records = [image_record(image.summary(None)), image_record(image.summary(0.1))]
    golden("images.json", json.dumps(records, indent=1) + "\n")
