"""The report of a clustering, from figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from artfp.passive_studies.clustering.cluster import Agreement, Clusters, Settings
from artfp.passive_studies.clustering.fusion import Fused
from artfp.passive_studies.clustering.report import Report, clusters_csv, clusters_table
from tests.golden import Golden
from tests.printed import printed

PLAIN = Report(
    ("a.png", "b, c.png", "d.png"),
    Clusters(np.array([0, 0, 1]), (0.913, None), np.eye(3), np.eye(3)),
    Settings(),
    "wavelet",
)
FULL = replace(
    PLAIN,
    truth=("one", "[red]two", "[red]two"),
    agreement=Agreement(0.5, 0.5, 0.5, 2, 2),
    scores=np.array([0.25, -1.5, 1.0 / 3.0]),
    fused=Fused(np.array([0.123456789, 2.0, -3.5]), (0.75, 0.2), 0.01),
)


def test_tables(golden: Golden) -> None:
    for name, report in (("plain", PLAIN), ("full", FULL)):
        golden(f"clusters_{name}.csv", clusters_csv(report))
        golden(f"clusters_{name}.txt", printed(clusters_table(report)))
