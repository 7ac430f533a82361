"""Verdicts by the command `detect`: registry, one source, report, JSON, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from artfp.audit import DetectSettings, auditor, detect_folder
from artfp.audit.verdicts import audit_records
from artfp.data.paths import file_hash
from artfp.data.resume import Journal
from artfp.ownership.key import Key, to_hex, to_text
from artfp.ownership.registry import Registry, RegistryEntry

Words = Callable[..., list[object]]
Call = Callable[..., tuple[int, list[str], list[str]]]

WORD = Key.from_seed(3).fingerprint(16)


@pytest.fixture
def few(photo_folder: Path, tmp_path: Path) -> Path:
    (folder := tmp_path / "few").mkdir()
    for number in range(12):
        shutil.copy(photo_folder / f"{number:03}.png", folder)
    return folder


@pytest.fixture
def marked(call: Call, embed_words: Words, few: Path, tmp_path: Path) -> Path:
    words = embed_words("marked", "--fingerprint", to_hex(WORD), "--num_workers", 0, data=few)
    assert call("embed", *words)[0] == 0
    return tmp_path / "marked/fingerprinted_images"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "my.registry"
    with Registry(path, create=True) as made:
        for i in range(4):
            word = WORD if i == 2 else Key.from_seed(100 + i).fingerprint(16)
            made.add(RegistryEntry.of(word, "[b]Ada" if i == 2 else f"owner {i}", "cats"))
    yield path


@pytest.fixture
def detect(call: Call, detect_words: Words) -> Callable[..., tuple[int, list[str], list[str]]]:
    def run(*more: object, data: Path) -> tuple[int, list[str], list[str]]:
        return call("detect", *detect_words("found", "--num_workers", 0, *more, data=data))

    return run


def tells(text: str) -> bool:
    """Whether the word stands in it: on its own, as a hash holds any four digits by chance."""
    return bool(re.search(rf"(?<![0-9a-f])({to_hex(WORD)}|{to_text(WORD)})(?![0-9a-f])", text))


def test_one_source_and_a_registry(
    detect: Call, marked: Path, registry: Path, tmp_path: Path
) -> None:
    page, data = tmp_path / "reports/r.html", tmp_path / "found/r.json"
    code, out, err = detect(
        *("--registry", registry, "--same_source", "--alpha", 1e-3, "--exit-code"),
        *("--report", page, "--json", data),
        data=marked,
    )
    assert code == 0, err
    assert out[0] == f"12 images decoded, in {tmp_path}/found"
    (row,) = [line for line in out if "of one source" in line]
    cells = row.split("\t")
    assert cells[:4] == ["12 of one source", "match", "[b]Ada: cats", "16 of 16"]
    assert "p is corrected for 4 fingerprints compared." in out
    assert err[0].startswith("warning: The decoder was not checked")
    facts = json.loads(data.read_text())
    assert facts["verdict"]["outcome"] == "match" and facts["sought"]["fingerprints"] == 4
    with Registry(registry) as opened:
        assert facts["sought"]["registry"]["digest"] == opened.state().digest
    assert len(facts["evidence"]) == 12 and len(facts["evidence"][0]["sha256"]) == 64
    text = page.read_text()
    assert text.count("data:image/jpeg") == 12
    assert not tells(text) and not tells(data.read_text())
    with open(tmp_path / "found/detected_fingerprints.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["owner"] for row in rows if int(row["matches"]) > 14} == {"[b]Ada"}


def test_a_report_is_of_the_bytes_that_were_decoded(
    detect: Call, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = sorted(marked.iterdir())
    decoded = file_hash(first)
    decide = audit_records

    def replace_first(*arguments: Any) -> Any:
        shutil.copy(second, first)
        return decide(*arguments)

    monkeypatch.setattr(auditor, "audit_records", replace_first)
    page, data = tmp_path / "r.html", tmp_path / "r.json"
    options = ("--fingerprint", to_text(WORD), "--report", page, "--json", data)
    code, _, err = detect(*options, data=marked)
    assert code == 0 and "warning: images that changed after they were decoded: 1" in err
    shown = {e["name"]: e["sha256"] for e in json.loads(data.read_text())["evidence"]}
    assert shown[first.name] == decoded and shown[second.name] == file_hash(second)
    assert page.read_text().count("data:image/jpeg") == len(shown) - 1


def test_no_earlier_report_stays_beside_a_new_table(
    detect: Call, marked: Path, tmp_path: Path
) -> None:
    word = ("--fingerprint", to_text(WORD))
    data, page = tmp_path / "found/verdict.json", tmp_path / "found/report.html"
    assert detect(*word, "--json", data, data=marked)[0] == 0
    before = data.read_bytes()
    for more in ((), ("--report", page)):
        code, _, err = detect(*word, *more, data=marked)
        assert code == 2 and f"{data} is the report of an earlier detection" in err[-1]
    assert data.read_bytes() == before and not page.exists()
    assert detect(*word, "--json", data, "--report", page, data=marked)[0] == 0
    code, _, err = detect(*word, "--json", data, data=marked)
    assert code == 2 and "report.html is the report of an earlier" in err[-1]


def test_exit_codes(detect: Call, marked: Path, few: Path, tmp_path: Path, registry: Path) -> None:
    given = ("--fingerprint", to_text(WORD), "--same_source")
    assert detect(*given, "--alpha", 1e-3, "--exit-code", data=marked)[0] == 0
    other = ("--fingerprint", to_hex(1 - WORD), "--same_source")
    code, out, _ = detect(*other, "--exit-code", "--alpha", 1e-3, data=marked)
    assert code == 3 and any("tampered" in line for line in out)
    assert detect(*other, data=marked)[0] == 0
    # Only at a lax level have 16 bits the power for a "no match".
    lax = Key.from_seed(4).fingerprint(16)
    again = ("--fingerprint", to_text(lax), "--same_source", "--alpha", 0.3, "--exit-code")
    assert detect(*again, data=few)[0] in (1, 3)
    (bad := tmp_path / "bad").mkdir()
    (bad / "x.png").touch()
    code, out, err = detect(
        *("--registry", registry, "--exit-code", "--report", tmp_path / "r.html"), data=bad
    )
    assert code == 3 and "Nothing was tested." in out and any("unusable" in e for e in err)


def test_json_on_standard_output_and_odd_names(
    detect: Call, marked: Path, registry: Path, tmp_path: Path
) -> None:
    names = ["<script>alert(1)<&.png", "new\nline'\".png", "a\udcffb.png"]
    pictures = sorted(marked.iterdir())
    for picture, name in zip(pictures, names, strict=False):
        picture.rename(marked / name)
    page = tmp_path / "r.html"
    code, out, err = detect("--registry", registry, "--json", "-", "--report", page, data=marked)
    facts = json.loads("\n".join(out))
    assert code == 0 and set(names) < {image["name"] for image in facts["evidence"]}
    assert any("any of 12" in line for line in err)
    assert facts["verdict"]["tests"] == 48
    text = page.read_bytes().decode("utf-8")
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)&lt;&amp;.png" in text
    with open(
        tmp_path / "found/detected_fingerprints.csv",
        newline="",
        encoding="utf-8",
        errors="surrogateescape",
    ) as file:
        assert set(names) < {row["name"] for row in csv.DictReader(file)}


def test_secrets_of_the_command_line_stay_secret(
    detect: Call, marked: Path, tmp_path: Path
) -> None:
    page = tmp_path / "r.html"
    given = f"--fingerprint={to_hex(WORD)}"
    assert detect(given, "--report", page, data=marked)[0] == 0
    text = page.read_text()
    assert not tells(text) and "--fingerprint ..." in text
    assert detect(given, "--report", page, "--reveal", data=marked)[0] == 0
    assert "agreement" in page.read_text()
    assert stat.S_IMODE(os.stat(page).st_mode) == 0o600


def test_a_report_is_its_readers_alone_without_bits_too(
    detect: Call, marked: Path, tmp_path: Path
) -> None:
    page, facts = tmp_path / "r.html", tmp_path / "r.json"
    detect(f"--fingerprint={to_hex(WORD)}", "--report", page, "--json", facts, data=marked)
    tables = [tmp_path / f"found/detected_fingerprints.{ending}" for ending in ("csv", "txt")]
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in (page, facts, *tables)} == {0o600}


def test_a_stopped_run_weighs_all_of_its_images(
    detect: Call, marked: Path, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was begun without a verdict in mind; and a report that fails loses nothing."""
    words = ("--registry", registry, "--same_source", "--json", tmp_path / "r.json")

    def verdict() -> Any:
        return json.loads((tmp_path / "r.json").read_text())["verdict"]

    assert detect(*words, data=marked)[0] == 0
    whole, real, count = verdict(), Journal.append, 0

    def failing(self: Journal, record: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count > 5:
            raise RuntimeError("stopped")
        real(self, record)

    monkeypatch.setattr(Journal, "append", failing)
    code, _, err = detect(data=marked)
    assert code == 70 and "crashed: RuntimeError: stopped (trace in " in err[-1]
    monkeypatch.undo()

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(28, "full")

    monkeypatch.setattr("artfp.audit.auditor.new_file", full)
    code, _, err = detect(*words, data=marked)
    assert code == 2 and "full" in err[-1]
    monkeypatch.undo()
    assert len(Journal(tmp_path / "found", "detect").records()) == 12
    count = 5
    monkeypatch.setattr(Journal, "append", failing)
    assert detect(*words, data=marked)[0] == 0
    assert verdict() == whole


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--same_source"], "something to compare with"),
        (["--registry", "none.registry"], "none.registry"),
        (["--registry", "r", "--fingerprint", "c35a"], "give one of them"),
        (["--fingerprint", "c35a", "--alpha", "2"], "--alpha is 2.0"),
        (["--fingerprint", "c35a", "--prior", "0"], "--prior is 0.0"),
        (["--fingerprint", "c35a", "--reveal"], "--reveal: only with"),
        (["--fingerprint", "c35a", "--calibration", "none.json"], "none.json"),
        (["--fingerprint", "c35a", "--report", "/"], "is a folder"),
    ],
)
def test_bad_input_is_told_before_the_work(
    detect: Call, few: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    code, out, err = detect(*words, data=few)
    assert (code, out) == (2, []) and said in err[-1]
    assert not (tmp_path / "found").exists()


def test_a_batch_of_clean_images_is_no_match_of_any(
    detect: Call, few: Path, registry: Path
) -> None:
    code, out, _ = detect("--registry", registry, data=few)
    assert code == 0
    (row,) = [line for line in out if "any of 12" in line]
    assert "(" in row and "match" not in row.replace("no match", "")
    assert np.sum(["of 16" in line for line in out if "\t" in line]) == 11


def test_one_image_without_a_folder(call: Call, marked: Path, weights: Path) -> None:
    """`artfp detect photo.png`: a verdict where there is something to compare with, else bits."""
    before = sorted(marked.parent.rglob("*"))
    image = str(next(iter(sorted(marked.iterdir()))))
    decoder = ("--decoder_path", weights / "decoder.safetensors", "--num_workers", 0)
    code, out, err = call("detect", image, *decoder)
    assert code == 0 and re.fullmatch(r"\S+\.png [01]{16}", "\n".join(out))
    assert "no verdict: there is nothing to compare with" in err[0] and "--registry" in err[0]
    given = ("--fingerprint", to_hex(WORD), "--alpha", 1e-3)
    code, out, _ = call("detect", image, *decoder, *given)
    (row,) = [line for line in out if "1 image" in line]
    assert code == 0 and "\tmatch\t16 of 16\t" in row
    assert any(line.startswith("Match: 16 of 16 bits") for line in out)
    assert sorted(marked.parent.rglob("*")) == before


def test_a_program_gets_what_the_command_prints(
    marked: Path, registry: Path, weights: Path
) -> None:
    settings = DetectSettings(
        data_dir=str(marked),
        decoder_path=str(weights / "decoder.safetensors"),
        registry=registry,
        same_source=True,
        alpha=1e-3,
        num_workers=0,
        cuda=-1,
    )
    found = detect_folder(settings)
    assert found is not None and found.verdict is not None and found.audit is not None
    assert found.verdict.outcome == "match" and found.audit.compared == 4
    assert found.audit.best is not None and found.audit.best.entry is not None
    assert found.audit.best.entry.owner == "[b]Ada"
    assert [image.name for image in found.images] == [f"{n:03}.png" for n in range(12)]
    assert found.report is not None and found.report["verdict"]["outcome"] == "match"
    assert not found.failed and found.matches is None and found.bits == 16
    one = replace(settings, registry=None, fingerprint=to_hex(WORD))
    found = detect_folder(one)
    assert found is not None and found.matches is not None and found.matches.shape == (12,)
    assert found.matches.tolist() == [int((i.bits == WORD).sum()) for i in found.images]


def test_images_too_small_are_inconclusive_and_the_best_of_many_is_corrected(
    call: Call, detect_words: Words, photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    photo = Image.open(photo_folder / "000.png")
    photo.crop((0, 0, 3, 3)).save(folder / "a.png")
    words = detect_words("found", "--fingerprint", "c35a", data=folder)
    code, out, err = call("detect", *words, "--exit-code")
    reason = "3x3 px cannot carry 16 bits: each side needs 6 px or more"
    assert code == 3 and f"inconclusive: a.png: {reason}" in err
    assert any(line.startswith(f"Inconclusive: {reason}") for line in out)
    for name in "bcd":
        photo.save(folder / f"{name}.png")
    code, out, err = call("detect", *words)
    assert code == 0 and f"inconclusive: a.png: {reason}" in err
    assert any("p-value of 4 images (Holm)" in line for line in out)


def test_without_a_search_nothing_is_ruled_out(detect: Call, few: Path, registry: Path) -> None:
    words = ("--registry", registry, "--exit-code")
    code, out, _ = detect(*words, "--realign", "false", data=few)
    reason = "turns, mirroring, crops and borders were not searched (--realign false)"
    assert code == 3 and any(line.startswith("Inconclusive: 12 of 12 ") for line in out)
    assert reason in "\n".join(out)
