"""The report of a clustering, from figures made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from artfp.passive_studies.clustering.cluster import Agreement, Clusters
from artfp.passive_studies.clustering.fusion import FusedScores
from artfp.passive_studies.clustering.report import (
    Clustering,
    cluster_sentences,
    clusters_csv,
    clusters_json,
    clusters_table,
)
from artfp.passive_studies.clustering.settings import ClusteringOptions
from tests.golden import Golden
from tests.printed import printed

PLAIN = Clustering(
    ("a.png", "b, c.png", "d.png"),
    Clusters(np.array([0, 0, 1]), (0.913, None), np.eye(3), np.eye(3)),
    ClusteringOptions(),
    "wavelet",
)
FULL = replace(
    PLAIN,
    truth=("one", "[red]two", "[red]two"),
    agreement=Agreement(0.5, 0.5, 0.5, 2, 2),
    scores=np.array([0.25, -1.5, 1.0 / 3.0]),
    fused=FusedScores(np.array([0.123456789, 2.0, -3.5]), (0.75, 0.2), 0.01),
)


def test_tables(golden: Golden) -> None:
    for name, report in (("plain", PLAIN), ("full", FULL)):
        golden(f"clusters_{name}.csv", clusters_csv(report))
        golden(f"clusters_{name}.txt", printed(clusters_table(report)))
        golden(f"clusters_{name}_sentences.txt", "\n".join(cluster_sentences(report)) + "\n")
        record = {**clusters_json(report), "software": "artfp"}
        golden(f"clusters_{name}.json", json.dumps(record, indent=1) + "\n")
