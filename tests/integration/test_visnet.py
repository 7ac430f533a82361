"""`artfp attribute visnet`, inside this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def dumps(patterned: Callable[..., Path]) -> Path:
    """Forty images of each of two sources, 36 px: more than the network's square."""
    return patterned(36, 5.0)


def test_an_attributor_with_pictures(call: Call, dumps: Path, tmp_path: Path) -> None:
    output = tmp_path / "visnet"
    asked = ("attribute", "visnet", dumps, "--output_dir", output, "--width", "2",
             "--batch_size", "8", "--cuda", "-1")  # fmt: skip
    code, out, err = call(*asked, "--max_steps", "20")
    assert code == 0 and "80 images of 2 sources; aligned, window 32x32" in "\n".join(out)
    names = {path.name for path in output.iterdir()}
    assert names >= {
        "attributor.safetensors", "attributor.json", "model_fingerprints.png",
        "image_fingerprints.png", "responses.png", "responses.csv", "checkpoints", "tensorboard",
    }  # fmt: skip
    card = json.loads((output / "attributor.json").read_text())
    assert card["method"] == card["parts"][0]["kind"] == "visnet"
    assert card["training"]["steps"] == 20 and card["settings"]["held_out"] == 0.2
    table = str(tmp_path / "table.csv")
    code, out, _ = call(
        "attribute", "predict", dumps / "left", "--attributor", output, "--csv", table
    )
    assert code == 0
    code, _, err = call(*asked, "--max_steps", "30")
    assert code == 2 and "add --resume" in err[-1]
    code, _, _ = call(*asked, "--max_steps", "25", "--resume")
    card = json.loads((output / "attributor.json").read_text())
    assert code == 0 and card["training"]["steps"] == 25


def test_bad_input(call: Call, dumps: Path, tmp_path: Path) -> None:
    asked = ("attribute", "visnet", dumps, "--output_dir", tmp_path / "none")
    code, _, err = call(*asked, "--window", "33")
    assert code == 2 and "--window" in err[0]
    code, _, err = call(*asked, "--max_steps", "0")
    assert code == 2 and "--max_steps is 0" in err[0]
