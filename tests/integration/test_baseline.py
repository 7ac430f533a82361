"""`artfp attribute baseline`, inside this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def dumps(patterned: Callable[..., Path]) -> Path:
    """Forty images of each of two sources, 16 px."""
    return patterned(16, 10.0)


@pytest.mark.parametrize("kind", ["nearest", "eigenface"])
def test_predict_and_report_take_it(call: Call, dumps: Path, tmp_path: Path, kind: str) -> None:
    output = tmp_path / kind
    code, out, err = call("attribute", "baseline", dumps, "--kind", kind, "--output_dir", output)
    assert (code, err) == (0, [])
    assert out[0].startswith("80 images of 2 sources; aligned, window 16x16: ")
    assert "".join(out).endswith(f"attributor.safetensors, attributor.json into {output}")
    card = json.loads((output / "attributor.json").read_text())
    assert card["method"] == kind and card["parts"][0]["kind"] == kind
    assert card["validation"]["accuracy"] == 1.0 and card["settings"]["kind"] == kind
    code, out, _ = call(
        "attribute", "predict", dumps / "left", "--attributor", output, "--same_source"
    )
    assert code == 0 and any("left" in line for line in out)
    report = tmp_path / f"report_{kind}"
    code, _, _ = call("attribute", "report", dumps, "--attributor", output, "--output_dir", report)
    assert code == 0 and (report / "report.json").is_file()


def test_bad_input(call: Call, dumps: Path, tmp_path: Path) -> None:
    code, _, err = call("attribute", "baseline", dumps, "--kind", "svm", "--output_dir", tmp_path)
    assert code == 2 and "nearest" in err[0] and len(err) == 1
    code, _, err = call(
        "attribute", "baseline", dumps, "--kind", "eigenface", "--components", "99",
        "--output_dir", tmp_path,
    )  # fmt: skip
    assert code == 2 and "expected 1 to 10" in err[0]
