"""Trained networks side by side, on small noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def test_two_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate("ab"):
        rng = np.random.default_rng(number)
        whole = 120 + 8.0 * rng.standard_normal((60, 32, 32, 3)) + 20 * number
        (tmp_path / "sources" / name).mkdir(parents=True)
        for index, image in enumerate(whole.round().clip(0, 255).astype(np.uint8)):
            Image.fromarray(image).save(tmp_path / "sources" / name / f"{index:02}.png")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import learned

    words = ["--data_dir", str(tmp_path / "sources"), "--work", str(tmp_path / "work"), "--fit",
             "45", "--jpeg", "95", "--look_every", "2", "--output"]  # fmt: skip
    one = [*words, str(tmp_path / "one.json"), "--networks", "compact:jpeg+noise"]
    assert learned.main([*one, "--minutes", "1e-9"]) == 0  # a step is taken in any case
    both = [
        *words,
        str(tmp_path / "two.json"),
        "--networks",
        "compact:jpeg+noise,compact:high_pass=4",
    ]
    assert learned.main([*both, "--max_steps", "4"]) == 0
    (first,) = json.loads((tmp_path / "one.json").read_text())["networks"]
    found = json.loads((tmp_path / "two.json").read_text())
    assert found["fit"] == 45 and found["test"] == {"a": 15, "b": 15} and found["guard"] == []
    again, second = found["networks"]
    assert again == first and first["steps"] == 1 and second["steps"] == 4
    assert [look[0] for look in second["curve"]] == [2, 4]
    card = json.loads((tmp_path / "work" / "compact_high_pass=4" / "attributor.json").read_text())
    assert card["parts"][0]["design"]["residual"] == 4
    assert second["curve"][0][1] < second["curve"][1][1]
    for figures in second["tests"].values():
        assert 0 <= figures["low"] <= figures["largest"] <= figures["high"] <= 1
        assert np.mean(list(figures["by_source"].values())) == pytest.approx(
            figures["largest"], abs=1e-3
        )
    assert list(second["tests"]) == ["as they are", "JPEG 95"]
    assert str(tmp_path) not in (tmp_path / "two.json").read_text()

    few = [*words, str(tmp_path / "few.json"), "--networks", "nearest,visnet", "--max_steps", "2"]
    assert learned.main(few) == 0
    nearest, visnet = json.loads((tmp_path / "few.json").read_text())["networks"]
    assert nearest["steps"] is None and nearest["tests"]["as they are"]["largest"] > 0.9
    assert visnet["steps"] == 2 and visnet["parameters"] > 0
