"""The picture of the documents from results with the word of today and of version 0.1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("word", ["contestant", "method"])
def test_both_words_are_read(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import robustness_plot

    found = json.loads((BENCHMARKS / "results" / "peers.json").read_text())
    named = [{key.replace("contestant", word): row[key] for key in row} for row in found["rows"]]
    (tmp_path / "results.json").write_text(json.dumps({**found, "rows": named}))
    drawn = []
    monkeypatch.setattr(robustness_plot, "plot_figure", lambda rows, *_: drawn.extend(rows))
    monkeypatch.setattr(robustness_plot, "save_figure", lambda *_: None)
    robustness_plot.main(str(tmp_path / "results.json"), "unused.png")
    assert [row.method for row in drawn] == [row["contestant"] for row in found["rows"]]
