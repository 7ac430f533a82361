"""Decoding a source: bits, comparison, tables, and going on after a stop."""

from __future__ import annotations

import csv
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from artfp.data import open_source
from artfp.data.paths import file_hash
from artfp.data.resume import Journal
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import Key, to_text
from artfp.watermark import Watermark, build_pair, load_decoder
from artfp.watermark.api import decode_pixels, fingerprint_image
from artfp.watermark.decode import DETECTED_LISTING, DETECTED_TABLE, DecodingJob, run_decoding
from artfp.watermark.embed_job import EMBEDDED_LISTING
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.networks.base import images_at_once
from artfp.watermark.networks.realigning import with_realignment
from artfp.watermark.prediction_loop import make_trainer
from artfp.watermark.records import Records
from artfp.watermark.settings import FINGERPRINTED_FOLDER
from tests.watermark.embedded import Jobs

WORDS = Fingerprints(16, fingerprint=Key.from_seed(5).fingerprint(16))


@pytest.fixture
def marked(job: Jobs) -> Path:
    run_embedding(this := job(), WORDS)
    return this.output / FINGERPRINTED_FOLDER


def _detect(pair: Watermark, data: Path, output: Path, **fields: Any) -> Any:
    made = DecodingJob(
        open_source(data), output, pair.decoder, "hash", make_trainer(), num_workers=0, **fields
    )
    return run_decoding(made)


def _rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / DETECTED_TABLE, newline="") as file:
        return list(csv.DictReader(file))


def test_bits_are_those_of_the_decoder(pair: Watermark, marked: Path, tmp_path: Path) -> None:
    result = _detect(pair, marked, tmp_path / "found")
    assert (result.decoded, result.failed, result.matches) == (120, [], None)
    rows = _rows(tmp_path / "found")
    for row in rows[::10]:
        pixels = np.asarray(Image.open(marked / row["name"]))
        assert row["bits"] == to_text(decode_pixels(pair.decoder, pixels))
    lines = (tmp_path / "found" / DETECTED_LISTING).read_text().splitlines()
    assert lines == [f"{row['name']} {row['bits']}" for row in rows]
    assert "matches" not in rows[0]


def test_networks_take_few_images_at_once_on_a_cpu(
    job: Jobs, pair: Watermark, tmp_path: Path, monkeypatch: Any
) -> None:
    """Memory is bounded by pixels; what is written and read stays."""
    assert images_at_once(torch.zeros(1).expand(40, 3, 1024, 1024)) == 1
    assert images_at_once(torch.zeros(40, 3, 128, 128)) >= 40
    assert images_at_once(torch.empty(40, 3, 1024, 1024, device="meta")) == 40
    run_embedding(whole := job(output=tmp_path / "whole"), WORDS)
    _detect(pair, whole.output / FINGERPRINTED_FOLDER, tmp_path / "found_whole")
    most = []
    for network, name in ((pair.encoder, "residual"), (pair.decoder, "decode")):
        method = getattr(network, name)

        def counted(x: torch.Tensor, *more: Any, method: Any = method) -> Any:
            most.append(len(x))
            return method(x, *more)

        monkeypatch.setattr(network, name, counted)
    monkeypatch.setattr("artfp.watermark.networks.base.CPU_PIXELS", 5 * 32 * 32)
    run_embedding(parts := job(output=tmp_path / "parts"), WORDS)
    _detect(pair, parts.output / FINGERPRINTED_FOLDER, tmp_path / "found_parts")
    assert max(most) == 5
    for file in (EMBEDDED_LISTING, f"{FINGERPRINTED_FOLDER}/{whole.source.names[7]}"):
        assert (whole.output / file).read_bytes() == (parts.output / file).read_bytes()
    found = {
        (tmp_path / name / DETECTED_LISTING).read_text() for name in ("found_whole", "found_parts")
    }
    assert len(found) == 1


def test_comparison_against_exact_arithmetic(pair: Watermark, marked: Path, tmp_path: Path) -> None:
    result = _detect(pair, marked, tmp_path / "found", fingerprints=WORDS)
    word = to_text(WORDS.of_image(""))
    for row in _rows(tmp_path / "found"):
        matches = sum(a == b for a, b in zip(row["bits"], word, strict=True))
        tail = sum(math.comb(16, k) for k in range(matches, 17)) / 2**16
        assert int(row["matches"]) == matches
        assert float(row["bit_accuracy"]) == matches / 16
        assert float(row["log10_p"]) == pytest.approx(math.log10(tail), abs=1e-4)
        assert float(row["p_value"]) == pytest.approx(tail, rel=0.06)
    assert result.matches.mean() > 13


def test_untouched_images_match_half(pair: Watermark, photo_folder: Path, tmp_path: Path) -> None:
    words = [Fingerprints(16, fingerprint=Key.from_seed(seed).fingerprint(16)) for seed in range(4)]
    means = [
        _detect(pair, photo_folder, tmp_path / str(i), fingerprints=word).matches.mean()
        for i, word in enumerate(words)
    ]
    assert 6.5 < np.mean(means) < 9.5


def test_other_sizes_are_brought_to_the_network(
    pair: Watermark, marked: Path, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    word = Key.from_seed(5).fingerprint(16)
    big = pair.embed(Image.fromarray(photographs[1]), word)
    (tmp_path / "in").mkdir()
    big.save(tmp_path / "in/big.png")
    big.resize((300, 200), Image.Resampling.LANCZOS).save(tmp_path / "in/half.webp", lossless=True)
    result = _detect(pair, tmp_path / "in", tmp_path / "found", fingerprints=WORDS)
    assert (result.matches >= 15).all()
    assert [(r["width"], r["height"]) for r in _rows(tmp_path / "found")] == [
        ("600", "400"),
        ("300", "200"),
    ]


def test_stopped_runs_go_on_and_finished_ones_begin_anew(
    pair: Watermark, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _detect(pair, marked, tmp_path / "whole", fingerprints=WORDS)
    real, count = Journal.append, 0

    def failing(self: Journal, record: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count > 50:
            raise RuntimeError("stopped")
        real(self, record)

    monkeypatch.setattr(Journal, "append", failing)
    with pytest.raises(RuntimeError, match="stopped"):
        _detect(pair, marked, tmp_path / "part", fingerprints=WORDS)
    monkeypatch.undo()
    assert len(Journal(tmp_path / "part", "detect").records()) == 50
    _detect(pair, marked, tmp_path / "part", fingerprints=WORDS)
    for name in (DETECTED_TABLE, DETECTED_LISTING):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "part" / name).read_bytes() == whole
    assert sorted(p.name for p in (tmp_path / "part").iterdir()) == [
        DETECTED_TABLE,
        DETECTED_LISTING,
    ]
    other = Fingerprints(16, fingerprint=1 - WORDS.of_image(""))
    again = _detect(pair, marked, tmp_path / "part", fingerprints=other)
    assert again.matches.mean() < 3


def test_unusable_images_are_named(pair: Watermark, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_text("no")
    result = _detect(pair, tmp_path / "in", tmp_path / "found", fingerprints=WORDS)
    assert result.decoded == 0 and result.failed[0][0] == "bad.png"
    assert len(result.matches) == 0


def test_the_table_tells_what_was_realigned(tmp_path: Path, photographs: list[np.ndarray]) -> None:
    """A turned oblong beside an untouched one; without realigning, neither word nor column."""
    encoder, decoder = build_pair("residual", 100, 128)
    encoder.rescale(3.0)
    words = Fingerprints(100, fingerprint=Key.from_seed(5).fingerprint(100))
    pixels = np.array(Image.fromarray(photographs[1]).resize((240, 160)))
    image = Image.fromarray(fingerprint_image(encoder.eval(), pixels, words.of_image("")))
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in/still.png")
    image.rotate(12, Image.Resampling.BICUBIC).save(tmp_path / "in/turned.png")

    def table(network: Any, output: str) -> dict[str, dict[str, str]]:
        pair = Watermark(encoder, network)
        _detect(pair, tmp_path / "in", tmp_path / output, fingerprints=words)
        return {row["name"]: row for row in _rows(tmp_path / output)}

    found = table(with_realignment(decoder.eval()), "found")
    assert found["still.png"]["realigned"] == ""
    note = found["turned.png"]["realigned"].split()
    assert note[:2] == ["turned", "by"] and note[3] == "degrees"
    assert float(note[2]) == pytest.approx(12, abs=1)
    assert min(int(row["matches"]) for row in found.values()) > 90
    plain = table(decoder, "plain")
    assert {row["realigned"] for row in plain.values()} == {""}
    assert plain["still.png"]["bits"] == found["still.png"]["bits"]
    assert 30 < int(plain["turned.png"]["matches"]) < 70


def test_a_stopped_run_goes_on_with_the_images_that_are_there(
    pair: Watermark, marked: Path, tmp_path: Path, photo_folder: Path
) -> None:
    data, found = tmp_path / "in", tmp_path / "found"
    data.mkdir()
    names = sorted(os.listdir(marked))[:4]
    for name in names:
        shutil.copy(marked / name, data)

    def stop(records: Records) -> dict[str, Any]:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        _detect(pair, data, found, fingerprints=WORDS, examine=stop)
    clean = sorted(photo_folder.iterdir())[0]
    shutil.copy(clean, data / names[0])
    (data / names[1]).write_bytes(b"no image")
    (data / names[2]).unlink()
    seen: list[dict[str, Any]] = []

    def examine(records: Records) -> dict[str, Any]:
        seen.extend(records())
        return {}

    result = _detect(pair, data, found, fingerprints=WORDS, examine=examine)
    assert (result.decoded, [name for name, _ in result.failed]) == (2, [names[1]])
    assert {record["name"]: record["sha256"] for record in seen if "logits" in record} == {
        name: file_hash(data / name) for name in (names[0], names[3])
    }
    fresh = _detect(pair, data, tmp_path / "fresh", fingerprints=WORDS)
    assert sorted(fresh.matches) == sorted(result.matches)
    assert _rows(found) == _rows(tmp_path / "fresh")


def test_framed_and_turned_images_are_read(tmp_path: Path, photographs: list[np.ndarray]) -> None:
    """As they come back: with a frame, letterboxed, in a screenshot, turned by a viewer."""
    pair = Watermark.load("photo128")
    word = Key.from_seed(5).fingerprint(pair.bits)
    image = pair.embed(Image.fromarray(photographs[1]).resize((240, 150)), word)
    framed = ImageOps.expand(image, 7, "black")
    screenshot = Image.new("RGB", (320, 200), (240, 240, 240))
    screenshot.paste(image, (24, 18))
    forms = {
        "framed": framed,
        "screenshot": screenshot,
        "turned": image.rotate(90, expand=True),
        "both": screenshot.rotate(270, expand=True),
    }
    (tmp_path / "in").mkdir()
    for name, form in forms.items():
        form.save(tmp_path / f"in/{name}.png")
    word_of_all = Fingerprints(pair.bits, fingerprint=word)
    result = _detect(pair, tmp_path / "in", tmp_path / "found", fingerprints=word_of_all)
    assert (result.matches >= 98).all()
    rows = {row["name"]: row["realigned"] for row in _rows(tmp_path / "found")}
    assert rows == {
        "both.png": "picture of 150x240 at (32, 24), turned by 270 degrees",
        "framed.png": "picture of 240x150 at (7, 7)",
        "screenshot.png": "picture of 240x150 at (24, 18)",
        "turned.png": "turned by 90 degrees",
    }
    plain = load_decoder("photo128", realign=False)[0]
    other = Watermark(pair.encoder, plain)
    unread = _detect(other, tmp_path / "in", tmp_path / "as it is", fingerprints=word_of_all)
    assert (unread.matches < 80).all()
