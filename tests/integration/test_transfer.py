"""`artfp transfer`: the study in one command, images from elsewhere, forecasts, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from artfp.ownership.key import Key, to_text

Call = Callable[..., tuple[int, list[str], list[str]]]

WORD = to_text(Key.from_seed(9).fingerprint(16))

pytestmark = pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")


@pytest.fixture
def words(weights: Path, photo_folder: Path, tmp_path: Path) -> list[object]:
    return [
        *("study", "dcgan", "--data_dir", photo_folder, "--output_dir", tmp_path / "study"),
        *("--encoder_path", weights / "encoder.safetensors", "--cuda", -1, "--num_workers", 0),
        *("--set", "width=8,ema_decay=0.5", "--batch_size", 8, "--max_steps", 3, "--limit", 16),
        *("--images", 16, "--progress_images", 4),
    ]


def test_a_study_in_one_command(call: Call, words: list[object], tmp_path: Path) -> None:
    code, said, errors = call("transfer", *words, "--distances", "false")
    assert code == 0, errors
    assert any("fingerprinted" in line for line in said) and any("clean" in line for line in said)
    assert f"all of it in {tmp_path}/study" in said[-1]
    assert (tmp_path / "study/fingerprint.key.json").is_file()
    made = tmp_path / "study/generated/fingerprinted/000003/images"
    facts = tmp_path / "read.json"
    code, said, errors = call(
        *("transfer", "read", "--data_dir", made, "--output", facts),
        *("--decoder_path", Path(str(words[7])).with_name("decoder.safetensors")),
        *("--key", tmp_path / "study/fingerprint.key.json"),
    )
    assert code == 0, errors
    study = json.loads((tmp_path / "study/transfer.json").read_text())
    read = json.loads(facts.read_text())
    assert read["bit_accuracy"] == study["rows"][2]["read"]["bit_accuracy"]
    # Another strength is another study; the same command is not.
    assert call("transfer", *words, "--distances", "false")[0] == 0
    code, _, errors = call("transfer", *words, "--strength", 0.5)
    assert code == 2 and "strength" in errors[-1]


def test_quick_fills_in_what_is_not_given(call: Call, words: list[object], tmp_path: Path) -> None:
    code, _, errors = call("transfer", *words, "--quick", "--stages", "embed")
    assert code == 0, errors
    manifest = json.loads((tmp_path / "study/transfer.run.json").read_text())
    assert manifest["limit"] == 16
    del words[words.index("--limit") : words.index("--limit") + 2]
    code, _, errors = call("transfer", *words, "--quick", "--stages", "embed")
    assert code == 2 and "'limit' was 16 and is now 10000" in errors[-1]


def test_a_forecast(call: Call, weights: Path, photo_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "forecast.json"
    code, said, errors = call(
        *("transfer", "predict", "--data_dir", photo_folder, "--images", 64, "--fingerprints", 2),
        *("--encoder_path", weights / "encoder.safetensors", "--output", output),
    )
    assert code == 0, errors
    facts = json.loads(output.read_text())
    assert f"forecast after transfer: bit accuracy {facts['transplanted']:.4f}" in said[1]
    assert facts["words"] == 2 and 0.5 <= facts["transplanted"] <= 1.0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--stages", "embed,train,fly"], "--stages is 'fly'; choose from embed"),
        (["--controls", "none"], "--controls is 'none'; choose from other"),
        (["--images", 1], "images is 1"),
        (["--fingerprint", "010"], "16"),
        (["--limit", 0], "limit is 0"),
        (["--target", "x"], "target"),
    ],
)
def test_bad_input_is_one_line(
    call: Call, words: list[object], more: list[object], told: str
) -> None:
    code, said, errors = call("transfer", *words, *more)
    assert code == 2 and said == [] and told in errors[-1], errors


def test_bad_input_of_the_other_actions(
    call: Call, weights: Path, photo_folder: Path, tmp_path: Path
) -> None:
    decoder = weights / "decoder.safetensors"
    for words, told in (
        (["fly"], "fly"),
        (["read", "--data_dir", photo_folder, "--decoder_path", decoder], "give --key"),
        (
            [
                *("read", "--data_dir", tmp_path / "none", "--decoder_path", decoder),
                *("--fingerprint", WORD),
            ],
            "no such file",
        ),
        (
            [
                *("predict", "--data_dir", photo_folder, "--images", 8),
                *("--encoder_path", weights / "encoder.safetensors"),
            ],
            "--images is 8; it must be 16 or more",
        ),
    ):
        code, _, errors = call("transfer", *words)
        assert code == 2 and told in errors[-1], errors
