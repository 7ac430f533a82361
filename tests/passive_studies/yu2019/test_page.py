"""Page, JSON and tables of a study of made-up results, as golden files."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfp.passive_studies.yu2019 import report
from artfp.passive_studies.yu2019.measure import (
    FeatureSeparation,
    OpenSetResult,
    PerturbedResult,
    Yu2019Result,
)
from tests.golden import Golden
from tests.printed import printed

NAMES = ("dcgan", "a\nb|c", "real")


def made_up() -> Yu2019Result:
    def row(attributor: str, perturbation: str, lost: int) -> PerturbedResult:
        own = 20 - 2 * lost
        confusion = tuple(
            tuple(own if i == j else lost for j in range(len(NAMES))) for i in range(len(NAMES))
        )
        return PerturbedResult(attributor, perturbation, confusion, (own - 1,) * 3, (1, 0, lost))

    training = {"design": {"network": "compact"}, "steps": 2000, "immunise": [], "seconds": 123.456}
    further = {**training, "steps": 500, "immunise": ["jpeg", "noise"], "init": "learned"}
    lost = {"identity": 0, "jpeg": 6, "combination": 5}
    rows = [row("learned", name, count) for name, count in lost.items()]
    rows += [row("immunised", name, count // 3) for name, count in lost.items()]
    points = tuple((float(n), -float(n)) for n in range(6))
    return Yu2019Result(
        sources=NAMES,
        fitted=(60, 60, 61),
        tested=(20, 20, 20),
        side=32,
        alpha=0.05,
        training={"learned": training, "immunised": further},
        rows=tuple(rows),
        features=(
            FeatureSeparation("learned", 123.456789, 2.0, 61.7283945, 10, 8,
                              ((0.0, 1.0, 2.0),) * 3, points, (0, 0, 1, 1, 2, 2)),
        ),
        open_sets=(
            OpenSetResult("real", (0.5, 0.9, 0.4, 0.7), (0.01, 0.5, 0.02), (0.0, 2 / 3), 0.975,
                          0.75),
        ),
        failed=[("dcgan/bad.png", "the file is empty")],
        held_out=(30, 31, 30),
        seed=3,
    )  # fmt: skip


def test_page_json_and_tables(
    golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("plot_perturbed", "plot_confusion", "plot_embedding", "plot_open_sets"):
        monkeypatch.setattr(report, name, lambda *_: b"")  # pictures have tests of their own
    found = made_up()
    settings = {"network": "compact", "fit": 60, "test": 20, "seed": 3, "leakage": []}
    files = report.write_results(found, settings, tmp_path)
    for name in files:
        if name.endswith((".md", ".json", ".csv")):
            golden(name, (tmp_path / name).read_text())
    golden("learned.txt", printed(report.accuracy_table(found.rows)))
    page = (tmp_path / "learned.md").read_text()
    for name in files:
        assert not name.endswith(".png") or f"]({name})" in page
