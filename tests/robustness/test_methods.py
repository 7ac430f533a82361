"""Methods by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.data.pixels import as_batch
from artfp.robustness import known_methods, load_method
from artfp.robustness.methods import load_reader
from artfp.watermark import build_pair, save_network


def test_an_encoder_file_brings_its_decoder(weights: Path, photographs: list[np.ndarray]) -> None:
    method = load_method(str(weights / "encoder.safetensors"), 1.5)
    assert method.name == method.reader.name == weights.name
    assert method.marks == {"encoder": file_hash(weights / "encoder.safetensors"), "strength": 1.5}
    assert method.reader.settings["decoder"] == file_hash(weights / "decoder.safetensors")
    word = np.arange(16, dtype=np.uint8) % 2
    attributor = method.reader.attributor(word[None], ("own",))
    marked = as_batch(method.embedder.embed(photographs[0], word))
    assert float(attributor.scores(marked)) >= 15


def test_labels(weights: Path) -> None:
    method = load_method(f"mine={weights / 'encoder.safetensors'}")
    assert method.name == method.reader.name == "mine"


def test_a_path_with_an_equals_sign(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lr=1"
    shutil.copytree(weights, folder)
    assert load_method(str(folder / "encoder.safetensors:plain")).name == "lr=1:plain"


def test_plain_marks_alike_and_reads_without_a_search(weights: Path) -> None:
    path = str(weights / "encoder.safetensors")
    whole, plain = load_method(path), load_method(f"{path}:plain")
    assert whole.marks == plain.marks and plain.name == whole.name + ":plain"
    assert (whole.reader.settings["realign"], plain.reader.settings["realign"]) == (True, False)


def test_shipped_weights() -> None:
    assert set(known_methods()) >= {"photo128", "dwtDct", "blind-watermark"}
    reader = load_reader("photo128")
    assert (reader.name, reader.bits) == ("photo128", 100)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("photo12", "did you mean photo128"),
        ("dwtdct", "did you mean dwtDct?"),
        ("zzz", "give .*photo128.*encoder's file"),
        ("/nowhere/encoder.safetensors", "/nowhere/encoder.safetensors"),
        ("", "expected a name"),
        ("=photo128", "expected a name"),
    ],
)
def test_unknown_names(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_method(name)


def test_pairs_of_two_trainings(weights: Path, tmp_path: Path) -> None:
    shutil.copy(weights / "encoder.safetensors", tmp_path)
    save_network(build_pair("residual", 24, 32, seed=0)[1], tmp_path / "decoder.safetensors")
    with pytest.raises(UserError, match=r"writes 16 bits.*reads 24"):
        load_method(str(tmp_path / "encoder.safetensors"))
