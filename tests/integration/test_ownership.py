"""From a key to a verdict that names its owner; and what happens where the names are left out."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from artfp.ownership.key import Key

Words = Callable[..., list[object]]
Call = Callable[..., tuple[int, list[str], list[str]]]

NAMES = ("--owner", "Ada Lovelace", "--subject", "cats v1")


@pytest.fixture
def few(photo_folder: Path, tmp_path: Path) -> Path:
    (folder := tmp_path / "few").mkdir()
    for number in range(12):
        shutil.copy(photo_folder / f"{number:03}.png", folder)
    return folder


@pytest.fixture(autouse=True)
def keys_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh keys are the same in every run: of 16 bits, random ones are too often alike."""
    seeds = count(7)
    monkeypatch.setattr(Key, "draw", lambda: Key.from_seed(next(seeds)))


@pytest.fixture
def registered(call: Call, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with Ada's committed fingerprint and two others."""
    monkeypatch.chdir(tmp_path)
    decoder = weights / "decoder.safetensors"
    for name in ("k", "other"):
        assert call("keygen", "--key", f"{name}.key.json")[0] == 0
    bits = ("--bits", 16, "--decoder", decoder)
    assert call("keygen", "--key", "k.key.json", *NAMES, *bits, "--commit", "cats")[0] == 0
    add = ("registry", "add", "my.registry", "--key")
    code, out, _ = call(*add, "k.key.json", "--commitment", "cats.commitment.json")
    assert code == 0
    assert "embed it with: --key k.key.json --owner 'Ada Lovelace' --subject 'cats v1'" in out
    for owner in ("Bob", "Eve"):
        others = ("--owner", owner, "--subject", "dogs", *bits)
        assert call(*add, "other.key.json", *others)[0] == 0
    return tmp_path / "my.registry"


def test_from_key_to_verdict(
    call: Call, embed_words: Words, detect_words: Words, registered: Path, few: Path, tmp_path: Path
) -> None:
    key = ("--key", "k.key.json")
    code, _, err = call("embed", *embed_words("out", *key, *NAMES, "--num_workers", 0, data=few))
    assert code == 0, err
    images = tmp_path / "out/fingerprinted_images"

    def verdict(*sought: object) -> Any:
        words = detect_words("found", *sought, "--same_source", "--num_workers", 0, data=images)
        code, _, err = call("detect", *words, "--alpha", "1e-3", "--json", tmp_path / "r.json")
        assert code == 0, err
        return json.loads((tmp_path / "r.json").read_text())["verdict"]

    found = verdict("--registry", registered)
    assert found["outcome"] == "match"
    assert (found["nearest"]["owner"], found["nearest"]["subject"]) == ("Ada Lovelace", "cats v1")
    assert found["nearest"]["commitment"] is not None
    assert verdict(*key, *NAMES)["outcome"] == "match"
    # The key alone, or another subject, is another fingerprint.
    assert verdict(*key)["outcome"] != "match"
    assert verdict(*key, *NAMES[:3], "cats v2")["outcome"] != "match"
    with open(tmp_path / "found/detected_fingerprints.csv", newline="") as file:
        assert all(len(row["bits"]) == 16 for row in csv.DictReader(file))


def test_a_fresh_key_is_registered_by_the_names_it_was_embedded_with(
    call: Call, embed_words: Words, detect_words: Words, few: Path, tmp_path: Path
) -> None:
    fresh = ("--identical_fingerprints", *NAMES, "--num_workers", 0)
    assert call("embed", *embed_words("out", *fresh, data=few))[0] == 0
    add = ("registry", "add", tmp_path / "r", "--key", tmp_path / "out/fingerprint.key.json")
    assert call(*add, *NAMES, "--bits", 16)[0] == 0
    images = tmp_path / "out/fingerprinted_images"
    words = detect_words("found", "--registry", tmp_path / "r", "--num_workers", 0, data=images)
    words += ["--same_source", "--alpha", "1e-3", "--exit-code"]
    assert call("detect", *words)[0] == 0


@pytest.mark.parametrize("key", [("--key", "k.key.json"), ("--identical_fingerprints",)])
def test_a_stopped_run_does_not_go_on_for_another_owner(
    call: Call, embed_words: Words, registered: Path, few: Path, key: tuple[str, ...]
) -> None:
    def embed(*names: object) -> tuple[int, list[str], list[str]]:
        return call("embed", *embed_words("out", *key, *names, "--num_workers", 0, data=few))

    assert embed(*NAMES)[0] == 0
    for names in ((), ("--owner", "Eve", "--subject", "cats v1"), (*NAMES[:3], "cats v2")):
        code, out, err = embed(*names)
        assert code == 2 and out == []
        assert "holds a run of 'embed' with other settings: 'secret_fingerprint'" in err[-1]
    code, out, _ = embed(*NAMES)
    assert code == 0 and out[0].startswith("nothing to do")


@pytest.mark.parametrize(
    ("command", "words", "found"),
    [
        ("embed", ["--key", "k.key.json", *NAMES[:2]], "give both or neither"),
        ("embed", ["--identical_fingerprints", *NAMES[2:]], "give both or neither"),
        ("embed", ["--fingerprint", "c35a", *NAMES], "leave them out with --fingerprint"),
        ("embed", [*NAMES], "give --key or --identical_fingerprints"),
        ("embed", ["--key", "k.key.json", "--owner", " ", "--subject", "x"], "owner: found"),
        ("detect", ["--key", "k.key.json", *NAMES[2:]], "give both or neither"),
        ("detect", [*NAMES], "--key, which is not given"),
        ("detect", ["--registry", "my.registry", *NAMES], "--key, which is not given"),
    ],
)
def test_names_without_a_meaning(
    call: Call, embed_words: Words, detect_words: Words, registered: Path, tmp_path: Path,
    command: str, words: list[str], found: str,
) -> None:  # fmt: skip
    all_words = (embed_words if command == "embed" else detect_words)("new", *words)
    code, out, err = call(command, *all_words)
    assert code == 2 and out == [] and found in err[-1]
    assert not (tmp_path / "new").exists()
