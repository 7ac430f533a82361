"""Page, JSON and tables of a study of made-up measurements, as golden files."""

from __future__ import annotations

import json

import numpy as np
import torch

from artfp.data.tables import csv_table, round_significant
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive.roc import CorrelationScores
from artfp.passive_studies.marra2019.analyses import ANALYSES
from artfp.passive_studies.marra2019.analysis_result import SourceInfo
from artfp.passive_studies.marra2019.energy import block_means
from artfp.passive_studies.marra2019.measure import ResidualMeasurements
from artfp.passive_studies.marra2019.study import groups_from_names, study_json, study_page
from tests.golden import Golden

NAMES = ("dcgan.a", "dcgan.b", "progan", "real")


def made_up() -> ResidualMeasurements:
    rng = np.random.default_rng(0)

    def scores(strength: float) -> CorrelationScores:
        own = strength * np.eye(4)
        return CorrelationScores(NAMES, tuple(rng.normal(own[i], 0.05, (12, 4)) for i in range(4)))

    prints, blocks = [], []
    for name in NAMES:
        pattern = 0.02 * rng.standard_normal((1, 3, 16, 16))
        residuals = torch.from_numpy(pattern + 0.05 * rng.standard_normal((8, 3, 16, 16)))
        found = ResidualFingerprint.empty((3, 16, 16), "gaussian:sigma=1", name)
        found.add(residuals.float())
        found.codecs["PNG"] = 8
        prints.append(found)
        blocks.append(block_means([residuals], 4))
    numbers = {1: rng.integers(3, 8, (4, 4)), 4: rng.integers(6, 11, (2, 4))}
    return ResidualMeasurements(
        NAMES,
        (16, 16),
        tuple(prints),
        tuple(blocks),
        scores(0.1),
        {95: scores(0.07), 60: scores(0.03)},
        {(16, 16): scores(0.1), (8, 8): scores(0.05)},
        numbers,
        {"resize@0.5": scores(0.06), "noise@0.02": scores(0.02)},
        scores(0.1),
    )


def test_page_json_and_tables(golden: Golden) -> None:
    measured = made_up()
    info = SourceInfo(("real",), groups_from_names(NAMES[:3]))
    results = {name: each.analyse(measured, info) for name, each in ANALYSES.items()}
    config = {"sources": list(NAMES), "extractor": "gaussian:sigma=1", "images": 8,
              "validation_set": "drawn by the seed", "seed": 0}  # fmt: skip
    leakage = ["format alone tells 100% of images apart"]
    record = study_json(measured, config, leakage, results)
    record["software"] = "artfp"
    left_out = {"real": "no source is named as real (--real)"}
    page = study_page(measured, "gaussian:sigma=1", leakage, results, left_out, config)
    golden("study.md", page)
    golden("study.json", json.dumps(record, indent=1) + "\n")
    tables = (f"{name}\n{csv_table(round_significant(p.rows))}" for name, p in results.items())
    golden("tables.csv", "\n".join(tables))
