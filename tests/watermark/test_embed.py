"""Fingerprinted images of a source: their names, pixels and tables."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError
from artfp.data import open_source
from artfp.data.paths import file_hash
from artfp.ownership.key import to_text
from artfp.watermark import Watermark
from artfp.watermark.embed_check import check_embedding
from artfp.watermark.embed_job import ARCHIVE_FILE, EMBEDDED_LISTING
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.settings import FINGERPRINTED_FOLDER
from tests.watermark.embedded import (
    EACH,
    KEY,
    ONE,
    Jobs,
    read_pixels,
    save_image,
    table_rows,
)


def test_tree_names_and_listing(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], pair: Watermark
) -> None:
    for name, photo in zip(("a/x.png", "a/x.jpg", "b/c/y.d.webp"), photographs, strict=False):
        save_image(tmp_path / "in" / name, photo[:60, :80])
    this = job(tmp_path / "in")
    assert run_embedding(this, ONE) is not None
    images = this.output / FINGERPRINTED_FOLDER
    found = sorted(str(p.relative_to(images)) for p in images.rglob("*") if p.is_file())
    assert found == ["a/x.jpg.png", "a/x.png.png", "b/c/y.d.png"]
    word = to_text(KEY.fingerprint(16))
    assert (this.output / EMBEDDED_LISTING).read_text().splitlines() == [
        f"{name} {word}" for name in found
    ]
    assert [row["output"] for row in table_rows(this.output)] == found


def test_psnr_of_the_table_is_that_of_the_file(job: Jobs, photo_folder: Path) -> None:
    run_embedding(this := job(), ONE)
    for row in table_rows(this.output)[::7]:
        written, original = (
            read_pixels(this.output / FINGERPRINTED_FOLDER / row["output"]),
            read_pixels(photo_folder / row["name"]),
        )
        error = np.mean((written.astype(float) - original) ** 2)
        assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / error), abs=0.002)
        assert (int(row["width"]), int(row["height"])) == (48, 48)


def test_no_image_falls_under_min_psnr(job: Jobs, tmp_path: Path) -> None:
    run_embedding(free := job(output=tmp_path / "free"), ONE)
    psnrs = np.array([float(row["psnr"]) for row in table_rows(free.output)])
    limit = round(float(np.median(psnrs)), 1)
    run_embedding(this := job(output=tmp_path / "limited", min_psnr=limit), ONE)
    limited = np.array([float(row["psnr"]) for row in table_rows(this.output)])
    assert limited.min() > limit - 0.1 and psnrs.min() < limit - 0.2
    assert (limited >= psnrs).all() and (limited == psnrs).mean() > 0.2
    with pytest.raises(UserError, match="min_psnr is nan; give decibels"):
        job(min_psnr=float("nan"))


def test_images_that_hold_no_fingerprint_are_named_and_not_written(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    for name, (height, width) in {"dot": (1, 1), "thin": (5, 90), "good": (40, 50)}.items():
        save_image(tmp_path / f"in/{name}.png", photographs[0][:height, :width])
    save_image(tmp_path / "faint/same.png", photographs[0][:40, :50])
    found = run_embedding(this := job(tmp_path / "in"), ONE)
    assert found is not None and found.written == 1
    assert dict(found.failed) == {
        "dot.png": "1x1 px cannot carry 16 bits: each side needs 6 px or more",
        "thin.png": "90x5 px cannot carry 16 bits: each side needs 6 px or more",
    }
    assert [path.name for path in (this.output / FINGERPRINTED_FOLDER).iterdir()] == ["good.png"]
    faint = job(tmp_path / "faint", output=tmp_path / "kept", min_psnr=99.0)
    found = run_embedding(faint, ONE)
    assert found is not None and found.written == 0
    reason = "the fingerprint changes no pixel: strength 1, min_psnr 99"
    assert found.failed == [("same.png", reason)]


@pytest.mark.parametrize("mode", ["CMYK", "1", "LA"])
def test_any_mode_becomes_rgb(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], mode: str
) -> None:
    suffix = ".jpg" if mode == "CMYK" else ".png"
    save_image(tmp_path / f"in/x{suffix}", photographs[2][:64, :64], mode)
    this = job(tmp_path / "in")
    run_embedding(this, ONE)
    assert Image.open(this.output / FINGERPRINTED_FOLDER / "x.png").mode == "RGB"


@pytest.mark.parametrize("name", ["webp", "bmp", "tiff"])
def test_lossless_formats_hold_the_same_pixels(job: Jobs, tmp_path: Path, name: str) -> None:
    run_embedding(png := job(output=tmp_path / "png"), ONE)
    run_embedding(other := job(output=tmp_path / name, format=name), ONE)
    for path in (png.output / FINGERPRINTED_FOLDER).iterdir():
        twin = (other.output / FINGERPRINTED_FOLDER / path.name).with_suffix(f".{name}")
        assert np.array_equal(read_pixels(path), read_pixels(twin))


def test_unusable_images_are_named_and_the_rest_is_done(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    save_image(tmp_path / "in/good.png", photographs[0][:50, :50])
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/text.png").write_text("no image")
    (tmp_path / "in/readme.txt").write_text("ignored")
    done = run_embedding(this := job(tmp_path / "in"), ONE)
    assert done is not None and done.written == 1
    assert dict(done.failed).keys() == {"empty.jpg", "text.png"}
    assert {row["name"]: bool(row["error"]) for row in table_rows(this.output)} == {
        "empty.jpg": True,
        "good.png": False,
        "text.png": True,
    }


def test_stylegan_zip_keeps_labels_and_packs_again(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    labels: list[tuple[str, int]] = [("00000/img0.jpg", 3), ("00000/img1.png", 1)]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
        for (name, _), photo in zip(labels, photographs, strict=False):
            file = io.BytesIO()
            Image.fromarray(photo[:40, :40]).save(file, "JPEG" if name.endswith("jpg") else "PNG")
            archive.writestr(str(name), file.getvalue())
    this = job(tmp_path / "set.zip", archive=True)
    run_embedding(this, ONE)
    names = ["00000/img0.png", "00000/img1.png"]
    wanted = {"labels": [[name, label] for name, label in zip(names, (3, 1), strict=True)]}
    assert json.loads((this.output / FINGERPRINTED_FOLDER / "dataset.json").read_text()) == wanted
    with zipfile.ZipFile(this.output / ARCHIVE_FILE) as archive:
        assert json.loads(archive.read("dataset.json")) == wanted
        for name in names:
            assert archive.read(name) == (this.output / FINGERPRINTED_FOLDER / name).read_bytes()
    again = open_source(this.output / ARCHIVE_FILE)
    assert again.names == names


def test_per_image_words_differ_and_are_read(job: Jobs, pair: Watermark) -> None:
    run_embedding(this := job(), EACH)
    words = {row["output"]: row["bits"] for row in table_rows(this.output)}
    assert len(set(words.values())) > 100
    figures = check_embedding(this, pair.decoder)
    assert figures["bit_accuracy"] > 0.8


def test_check_agrees_with_the_files(job: Jobs, pair: Watermark, photo_folder: Path) -> None:
    run_embedding(this := job(), ONE)
    errors, right = [], []
    for row in table_rows(this.output):
        image = Image.open(this.output / FINGERPRINTED_FOLDER / row["output"])
        written, original = np.asarray(image), read_pixels(photo_folder / row["name"])
        errors.append(10 * np.log10(255**2 / np.mean((written - original.astype(float)) ** 2)))
        right.append(pair.detect(image, KEY.fingerprint(16)).matches / 16)
    figures = check_embedding(this, pair.decoder)
    assert figures["psnr"] == pytest.approx(np.mean(errors), abs=1e-3)
    assert figures["bit_accuracy"] == pytest.approx(np.mean(right))


def test_hostile_names_pass_through_the_tables(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    names = ["<script>.png", 'quo"te,comma.png', "new\nline.png", "ünï.png", "x" * 200 + ".png"]
    names.append(b"not-utf8-\xff.png".decode("utf-8", "surrogateescape"))
    for name in names:
        save_image(tmp_path / "in" / name, photographs[0][:40, :40])
    done = run_embedding(this := job(tmp_path / "in"), EACH)
    assert done is not None and done.written == len(names)
    assert {row["name"] for row in table_rows(this.output)} == set(names)
    lines = (this.output / EMBEDDED_LISTING).read_bytes().splitlines()
    assert len(lines) == len(names)
    assert {path.name for path in (this.output / FINGERPRINTED_FOLDER).iterdir()} == set(names)


def test_secrets_stay_in_the_key_file(job: Jobs, tmp_path: Path) -> None:
    run_embedding(this := job(), ONE)
    KEY.save(tmp_path / "key.json")
    secret = json.loads((tmp_path / "key.json").read_text())["secret"]
    manifest = (this.output / "embed.run.json").read_text()
    assert secret not in manifest and KEY.tag() not in manifest
    assert to_text(KEY.fingerprint(16)) not in manifest
    assert file_hash(tmp_path / "key.json") not in manifest


def test_transparency_is_told(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        image = Image.fromarray(photographs[number][:40, :50]).convert("RGBA")
        image.putalpha(128)
        image.save(tmp_path / f"in/{number}.png")
    run_embedding(job(tmp_path / "in"), ONE)
    assert "2 transparent images composited over white" in caplog.messages


def test_one_long_name_does_not_stop_an_archive(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photographs[1][:40, :50]).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("a.png", "x" * 300 + ".png", "y" * 300 + "/b.png", "z/" * 2000 + "c.png"):
            archive.writestr(name, buffer.getvalue())
    found = run_embedding(job(tmp_path / "in.zip", archive=True), ONE)
    assert found is not None and found.written == 4 and not found.failed
