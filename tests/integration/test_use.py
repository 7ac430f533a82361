"""The commands as their users call them, in this process."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from artfp.ownership.key import Key, to_hex, to_text
from artfp.watermark import build_pair, save_network

Words = Callable[..., list[object]]
Call = Callable[..., tuple[int, list[str], list[str]]]
Files = Callable[[Path], dict[str, bytes]]


def _table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def _times(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != "artfp.log"}


def test_the_drawn_key(call: Call, embed_words: Words, tmp_path: Path) -> None:
    words = embed_words("out", "--identical_fingerprints", "--num_workers", 0)
    code, out, err = call("embed", *words)
    key = tmp_path / "out/fingerprint.key.json"
    assert code == 0 and stat.S_IMODE(os.stat(key).st_mode) == 0o600
    secret, word = json.loads(key.read_text())["secret"], Key.load(key).fingerprint(16)
    said = "\n".join(out + err) + (tmp_path / "out/embed.run.json").read_text()
    assert not any(each in said for each in (secret, to_text(word), to_hex(word)))
    assert {row["bits"] for row in _table(tmp_path / "out/embedded_fingerprints.csv")} == {
        to_text(word)
    }
    before, content = _times(tmp_path / "out"), key.read_bytes()
    code, out, _ = call("embed", *words)
    assert (code, out) == (
        0,
        [f"nothing to do: 120 images fingerprinted before, in {tmp_path}/out"],
    )
    assert _times(tmp_path / "out") == before and key.read_bytes() == content


def test_the_same_key_named_by_its_file_goes_on(
    call: Call, embed_words: Words, tmp_path: Path
) -> None:
    call("embed", *embed_words("out", "--identical_fingerprints", "--num_workers", 0))
    key = tmp_path / "out/fingerprint.key.json"
    code, out, err = call("embed", *embed_words("out", "--key", key, "--num_workers", 0))
    assert code == 0 and out[0].startswith("nothing to do") and err == []


@pytest.mark.parametrize(
    "change",
    [
        ("--fingerprint", "c35b"),
        ("--identical_fingerprints",),
        (),
        ("--fingerprint", "c35a", "--image_resolution", 40),
        ("--fingerprint", "c35a", "--use_celeba_preprocessing"),
        ("--fingerprint", "c35a", "--strength", 2),
        ("--fingerprint", "c35a", "--format", "bmp"),
    ],
)
def test_another_run_in_the_same_folder(
    call: Call, embed_words: Words, tmp_path: Path, change: tuple[object, ...]
) -> None:
    assert call("embed", *embed_words("out", "--fingerprint", "c35a", "--num_workers", 0))[0] == 0
    before = _times(tmp_path / "out")
    code, out, err = call("embed", *embed_words("out", *change))
    assert code == 2 and out == [] and len(err) == 1 and str(tmp_path / "out") in err[0]
    assert "c35a" not in err[0] and "1100001101011010" not in err[0]
    assert _times(tmp_path / "out") == before


def test_unusable_images_are_named_and_the_exit_code_is_1(
    call: Call, embed_words: Words, detect_words: Words, tmp_path: Path, photo_folder: Path
) -> None:
    (data := tmp_path / "in").mkdir()
    shutil.copy(photo_folder / "000.png", data / "good.png")
    whole = (photo_folder / "001.png").read_bytes()
    (data / "half.png").write_bytes(whole[: len(whole) // 2])
    (data / "new\nline.png").write_text("no image")
    code, out, err = call(
        "embed", *embed_words("out", "--fingerprint", "c35a", "--check", data=data)
    )
    assert code == 1 and out[0] == f"1 image fingerprinted, in {tmp_path}/out"
    assert out[1].startswith("read back from the files")
    assert out[2].startswith("visibility: S-CIELAB p95 ") and "good.png" in out[2]
    assert [line.split(": ")[:2] for line in err[:2]] == [
        ["unusable", "half.png"],
        ["unusable", "new\\nline.png"],
    ]
    assert err[2:] == ["2 images could not be used"]
    code, out, err = call("detect", *detect_words("found", data=data))
    assert code == 1 and out == [f"1 image decoded, in {tmp_path}/found"] and len(err) == 3


def test_no_usable_image_at_all(call: Call, embed_words: Words, tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    words = embed_words("out", "--fingerprint", "c35a", "--check", data=tmp_path / "x.png")
    code, out, err = call("embed", *words)
    assert (code, out) == (1, [f"0 images fingerprinted, in {tmp_path}/out"])
    assert err == ["unusable: x.png: the file is empty", "1 image could not be used"]


@pytest.mark.parametrize("name", ["[bold]x[/b]", ":smile:", "new\nline", "a\udcffb", "ü, '\"$HOME"])
def test_any_output_folder(
    call: Call, embed_words: Words, detect_words: Words, photo_folder: Path, name: str
) -> None:
    shown = name.replace("\n", "\\n").replace("\udcff", "\\udcff")
    one = photo_folder / "000.png"
    code, out, err = call("embed", *embed_words(name, "--identical_fingerprints", data=one))
    assert code == 0 and out[0].endswith(f"/{shown}")
    assert len(out) == len(err) == 1 and f"/{shown}/fingerprint.key.json" in err[0]
    code, out, err = call("detect", *detect_words(name, data=one))
    assert code == 0 and out[0].endswith(f"/{shown}") and err == []


def test_the_fingerprint_as_bits_or_hexadecimal(
    call: Call, embed_words: Words, detect_words: Words, tmp_path: Path, photo_folder: Path
) -> None:
    """Also where YAML would read a number."""
    data = tmp_path / "in"
    data.mkdir()
    shutil.copy(photo_folder / "005.png", data)
    for given in ("1e15", "0101", "0x0101", "0001111000010101"):
        assert call("embed", *embed_words(given, "--fingerprint", given, data=data))[0] == 0
        words = detect_words(f"d{given}", "--fingerprint", given, data=data)
        assert call("detect", *words)[0] == 0
    bits = {
        given: _table(tmp_path / given / "embedded_fingerprints.csv")[0]["bits"]
        for given in ("1e15", "0101", "0x0101", "0001111000010101")
    }
    assert bits["1e15"] == bits["0001111000010101"] == "0001111000010101"
    assert bits["0101"] == bits["0x0101"] == "0000000100000001"
    row = _table(tmp_path / "d0101/detected_fingerprints.csv")[0]
    matches = sum(a == b for a, b in zip(row["bits"], bits["0101"], strict=True))
    tail = sum(math.comb(16, k) for k in range(matches, 17)) / 2**16
    assert int(row["matches"]) == matches
    assert float(row["log10_p"]) == pytest.approx(math.log10(tail), abs=1e-4)


def test_a_seed_repeats_itself_and_says_that_it_is_no_secret(
    call: Call, embed_words: Words, tmp_path: Path, files: Files
) -> None:
    for name in ("a", "b"):
        code, _, err = call("embed", *embed_words(name, "--seed", 7, "--num_workers", 0))
        assert code == 0 and "no secret" in err[0] and "do not transfer" in err[1]
    assert files(tmp_path / "a") == files(tmp_path / "b")
    rows = _table(tmp_path / "a/embedded_fingerprints.csv")
    for row in rows[::9]:
        word = Key.from_seed(7).fingerprint(16, context=b"image:" + row["name"].encode())
        assert row["bits"] == to_text(word)


def _stylegan(path: Path) -> tuple[list[np.ndarray], list[Any] | None]:
    """Read a data set as StyleGAN2-ADA's ImageFolderDataset does: sorted images, their labels."""
    PIL.Image.init()
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        images = sorted(n for n in names if os.path.splitext(n)[1].lower() in PIL.Image.EXTENSION)
        pixels = []
        for name in images:
            with archive.open(name) as file:
                pixels.append(np.array(PIL.Image.open(file)))
        labels = None
        if "dataset.json" in names:
            labels = json.loads(archive.read("dataset.json"))["labels"]
        if labels is not None:
            by_name = dict(labels)
            labels = [by_name[name.replace("\\", "/")] for name in images]
    assert len({image.shape for image in pixels}) == 1
    return pixels, labels


def test_a_stylegan_data_set_stays_one(
    call: Call, embed_words: Words, tmp_path: Path, photo_folder: Path
) -> None:
    photos = sorted(photo_folder.iterdir())[:6]
    labels = [[f"0000{i % 2}/img{i}.png", i % 3] for i in range(6)]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for (name, _), photo in zip(labels, photos, strict=True):
            archive.write(photo, str(name))
        archive.writestr("dataset.json", json.dumps({"labels": labels, "note": 1}))
    words = embed_words(
        "out", "--fingerprint", "c35a", "--archive", "--format", "webp", data=tmp_path / "set.zip"
    )
    assert call("embed", *words)[0] == 0
    before, old = _stylegan(tmp_path / "set.zip")
    after, new = _stylegan(tmp_path / "out/fingerprinted_images.zip")
    assert new == old and len(after) == 6
    for a, b in zip(before, after, strict=True):
        assert 15 < 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2)) < 60
    folder = tmp_path / "out/fingerprinted_images"
    with zipfile.ZipFile(tmp_path / "out/fingerprinted_images.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members == {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_list_and_a_single_file(
    call: Call, embed_words: Words, tmp_path: Path, photo_folder: Path
) -> None:
    shutil.copytree(photo_folder, tmp_path / "deep/in")
    (tmp_path / "list.txt").write_text("# two of them\ndeep/in/003.png\n\ndeep/in/001.png\n")
    words = embed_words("out", "--fingerprint", "c35a", data=tmp_path / "list.txt")
    assert call("embed", *words)[0] == 0
    images = tmp_path / "out/fingerprinted_images"
    found = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    assert found == ["deep/in/001.png", "deep/in/003.png"]
    words = embed_words("one", "--fingerprint", "c35a", data=photo_folder / "003.png")
    assert call("embed", *words)[0] == 0
    assert (tmp_path / "one/fingerprinted_images/003.png").read_bytes() == (
        images / "deep/in/003.png"
    ).read_bytes()


def test_options_from_a_file(
    call: Call, embed_words: Words, tmp_path: Path, photo_folder: Path
) -> None:
    (tmp_path / "c.yaml").write_text('fingerprint: "0101"\nformat: bmp\nbatch_size: 3\n')
    words = embed_words("out", "--config", tmp_path / "c.yaml", data=photo_folder / "003.png")
    assert call("embed", *words)[0] == 0
    assert (tmp_path / "out/fingerprinted_images/003.bmp").is_file()
    assert (tmp_path / "out/embedded_fingerprints.txt").read_text() == "003.bmp 0000000100000001\n"


def test_marked_and_unmarked_images(
    call: Call, embed_words: Words, detect_words: Words, tmp_path: Path
) -> None:
    call("embed", *embed_words("out", "--identical_fingerprints", "--num_workers", 0))
    key = ("--key", tmp_path / "out/fingerprint.key.json", "--num_workers", 0)
    call("detect", *detect_words("yes", *key, data=tmp_path / "out/fingerprinted_images"))
    call("detect", *detect_words("no", *key))
    mean = {
        name: np.mean(
            [
                float(row["bit_accuracy"])
                for row in _table(tmp_path / name / "detected_fingerprints.csv")
            ]
        )
        for name in ("yes", "no")
    }
    assert mean["yes"] > 0.85 > 0.8 > mean["no"] > 0.2


def test_a_check_that_reads_at_chance_is_told(
    call: Call, embed_words: Words, tmp_path: Path, photo_folder: Path, weights: Path
) -> None:
    other = tmp_path / "decoder.safetensors"
    save_network(build_pair("residual", 16, 32, seed=99)[1], other)
    words = embed_words("out", "--fingerprint", "c35a", "--check", data=photo_folder)
    code, out, err = call("embed", *words, "--decoder_path", other)
    assert code == 1 and out[0].startswith("120 images fingerprinted")
    assert err[-1].startswith("the files are read back hardly better than by chance (0.5)")
