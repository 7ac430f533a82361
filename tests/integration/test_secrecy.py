"""`artfp secrecy`, inside this process."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from artfp.secrecy import steganalyser
from artfp.watermark import build_pair, save_network

Call = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def words(weights: Path, photo_folder: Path, tmp_path: Path) -> list[object]:
    """Arguments that work, but for the attackers."""
    options: list[object] = ["--encoder_path", f"mine={weights / 'encoder.safetensors'}"]
    options += ["--data_dir", photo_folder, "--output_dir", tmp_path / "out"]
    return [*options, "--sizes", "20,30", "--test_images", 30]


def test_table_files_and_going_on(
    call: Call, words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = steganalyser.SteganalyserTraining(max_steps=3, batch_size=8, look_every=3)
    monkeypatch.setattr(steganalyser, "SteganalyserTraining", lambda: brief)
    other = tmp_path / "other.safetensors"
    save_network(build_pair("residual", 16, 32, seed=9)[0], other)
    words += ["--other_encoder", other]
    code, out, err = call("secrecy", *words, "--attackers", "mean_residual,lda,spectrum")
    assert code == 0 and len(err) == 18  # a line for each attack
    assert out[-1].startswith("wrote secrecy.csv, secrecy.json, secrecy.png")
    before = (tmp_path / "out" / "secrecy.json").read_text()
    code, out, err = call("secrecy", *words)
    assert code == 0 and len(err) == 6 and all("/network: AUC" in line for line in err)
    rows = json.loads((tmp_path / "out" / "secrecy.json").read_text())["rows"]
    assert [row for row in rows if row["attacker"] != "network"] == json.loads(before)["rows"]
    assert len(rows) == 24 and all(row["low"] <= row["auc"] <= row["high"] for row in rows)
    assert {(row["encoder"], row["test_images"]) for row in rows} == {("mine", 30)}
    # An untrained encoder at this strength is loud.
    lda = [row["auc"] for row in rows if (row["threat"], row["attacker"]) == (
        "same_fingerprint", "lda")]  # fmt: skip
    assert min(lda) > 0.9
    with (tmp_path / "out" / "secrecy.csv").open() as file:
        assert [float(row["auc"]) for row in csv.DictReader(file)] == [row["auc"] for row in rows]
    with Image.open(tmp_path / "out" / "secrecy.png") as picture:
        assert picture.width > 1000
    shown = "\n".join(out)
    assert "20 + 20" in shown and "…" not in shown and "mine" in shown
    for row in rows:
        assert f"{row['auc']:.3f}" in shown and f"({row['low']:.3f}-{row['high']:.3f})" in shown
    code, _, err = call("secrecy", *words, "--seed", 1)
    assert code == 2 and "other settings: 'seed' was 0 and is now 1" in err[-1]
    images = tmp_path / "copy" / Path(str(words[3])).name
    shutil.copytree(str(words[3]), images)
    first, second = sorted(images.iterdir())[:2]
    shutil.copy(first, second)
    code, _, err = call("secrecy", *words, "--data_dir", images)
    assert code == 2 and "'data_sha256' is that of other files" in err[-1]


def test_encoders_at_equal_psnr(call: Call, words: list[object], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_network(build_pair("residual", 24, 32, seed=9)[0], other)
    words[1] = f"{words[1]}, second={other}"
    words += ["--psnr", 30, "--attackers", "mean_residual", "--other_encoder", f"mine={other}"]
    assert call("secrecy", *words)[0] == 0
    rows = json.loads((tmp_path / "out" / "secrecy.json").read_text())["rows"]
    assert [(row["encoder"], row["threat"]) for row in rows[::2]] == [
        ("mine", "same_fingerprint"), ("mine", "other_fingerprints"), ("mine", "other_encoder"),
        ("second", "same_fingerprint"), ("second", "other_fingerprints"),
    ]  # fmt: skip
    assert all(row["psnr"] == pytest.approx(30, abs=0.3) for row in rows)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--sizes", "100"], "has 120 usable images; 100 clean"),
        (["--sizes", "20,19"], "--sizes is 19; it must be 20 or more"),
        (["--sizes", "x"], "--sizes: invalid int,... value: 'x'"),
        (["--test_images", "5"], "--test_images is 5; it must be 20 or more"),
        (["--attackers", "eye"], "--attackers: found 'eye'; choose from network"),
        (["--psnr", "3"], "--psnr is 3.0; it must be 10 or more"),
        (["--encoder_path", "a=cifar32,a=cifar32"], "each label once"),
        (["--other_encoder", "his=cifar32"], "no encoder is called 'his'; found mine"),
        (["--other_encoder", "cifar32,photo128"], "several without labels"),
        (["--encoder_path", "cifar32", "--other_encoder", "cifar32"], "holds the weights of"),
    ],
)
def test_refused(call: Call, words: list[object], more: list[str], said: str) -> None:
    code, out, err = call("secrecy", *words, *more)
    assert code == 2 and out == [] and len(err) == 1 and said in err[0]
    assert err[0].startswith("artfp secrecy: error: ")
