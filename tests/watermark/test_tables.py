"""Tables and the reading back, on journals such as kills and several processes leave."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from artfp.core.errors import UserError
from artfp.data.tables import csv_text, write_tables
from artfp.metrics.visibility_summary import VisibilitySummary
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import Key, to_text
from artfp.watermark import Watermark
from artfp.watermark.embed_check import check_embedding
from artfp.watermark.embed_job import EMBEDDED_TABLE
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.settings import FINGERPRINTED_FOLDER
from tests.watermark.embedded import ONE, Jobs


def _tables(tmp_path: Path, names: list[str], *records: dict[str, Any]) -> tuple[Any, Any, str]:
    table, listing = tmp_path / "t.csv", tmp_path / "t.txt"
    found = write_tables(records, names, ("name", "bits", "error"), table, listing, "name")
    with open(table, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return found, list(csv.DictReader(file)), listing.read_text()


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 on (H, W, 3) in 0..255, borders mirrored."""

    def mean(values: np.ndarray) -> np.ndarray:
        result: np.ndarray = gaussian_filter(values, (1.5, 1.5, 0.0), mode="mirror", truncate=3.5)
        return result

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    return float((top / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def test_rows_in_the_order_of_the_source_last_record_first(tmp_path: Path) -> None:
    done = [{"name": name, "bits": bits} for name, bits in (("c", "1"), ("a", "0"), ("x", "1"))]
    error = {"name": "b", "error": "torn"}
    (count, failed), rows, listing = _tables(
        tmp_path, ["a", "b", "c"], *done, error, {"name": "c", "bits": "0"}
    )
    assert (count, failed) == (2, [("b", "torn")])
    assert [tuple(row.values()) for row in rows] == [
        ("a", "0", ""),
        ("b", "", "torn"),
        ("c", "0", ""),
    ]
    assert listing == "a 0\nc 0\n"


@pytest.mark.parametrize("late", [True, False])
def test_a_success_counts_wherever_an_older_error_stands(tmp_path: Path, late: bool) -> None:
    records: list[dict[str, Any]] = [{"name": "a", "bits": "1"}, {"name": "a", "error": "torn"}]
    (count, failed), rows, listing = _tables(tmp_path, ["a"], *records[:: 1 if late else -1])
    assert (count, failed, listing) == (1, [], "a 1\n")
    assert rows == [{"name": "a", "bits": "1", "error": ""}]


def test_any_name_survives(tmp_path: Path) -> None:
    names = sorted(
        [
            '"',
            "a,b",
            "a\nb",
            "a\r\nb",
            "a\rb",
            "\x1b[31m",
            "é",
            "<b>&",
            "=1+1",
            "a\udcffb",
            " ",
            "\u2028",
        ]
    )
    records = [{"name": name, "bits": "1"} for name in names]
    _, rows, listing = _tables(tmp_path, names, *records)
    assert [csv_text(row["name"]) for row in rows] == names
    assert len(listing.splitlines()) == len(names) and "\x1b" not in listing


def test_an_image_mended_after_a_run_of_several_processes(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], pair: Watermark
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(photographs[0][:48, :48]).save(tmp_path / "in/a.png")
    this = job(tmp_path / "in")
    this.output.mkdir()
    stale = {"name": "a.png", "error": "the file is empty"}
    (this.output / ".embed.1.jsonl").write_text(json.dumps(stale) + "\n")
    done = run_embedding(this, ONE)
    assert done is not None and (done.written, done.failed) == (1, [])


def test_figures_of_the_check_are_those_of_the_files(
    job: Jobs, pair: Watermark, tmp_path: Path, photo_folder: Path, photographs: list[np.ndarray]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("000.png", "001.png", "002.png"):
        shutil.copy(photo_folder / name, tmp_path / "in")
    Image.fromarray(photographs[0][100:180, 100:230]).save(tmp_path / "in/wide.png")
    Image.fromarray(photographs[0][100:108, 100:109]).save(tmp_path / "in/tiny.png")
    Image.fromarray(photographs[0][100:180, 100:230]).save(tmp_path / "in/gone.png")
    (tmp_path / "in/bad.png").touch()
    run_embedding(this := job(tmp_path / "in"), ONE)
    with open(this.output / ".embed.0.jsonl", "a+") as file:  # as a kill before a file leaves it
        file.seek(0)
        file.write(file.readlines()[1])
    (tmp_path / "in/gone.png").unlink()

    bits, noise, alike = [], [], []
    for name in ("000.png", "001.png", "002.png", "wide.png", "tiny.png"):
        before, after = (
            Image.open(tmp_path / "in" / name),
            Image.open(this.output / FINGERPRINTED_FOLDER / name),
        )
        a, b = np.asarray(before, float), np.asarray(after, float)
        bits.append(pair.detect(after, ONE.of_image("")).matches / 16)
        noise.append(10 * math.log10(255**2 / ((a - b) ** 2).mean()))
        if name != "tiny.png":
            alike.append(_ssim(a, b))
    seen = VisibilitySummary(models=0)
    figures = check_embedding(job(tmp_path / "in"), pair.decoder, seen)
    alone = VisibilitySummary(models=0)
    for name in ("000.png", "001.png", "002.png", "wide.png", "tiny.png"):
        paths = (tmp_path / "in" / name, this.output / FINGERPRINTED_FOLDER / name)
        alone.add(name, *(np.asarray(Image.open(path)) for path in paths))
    assert {name: figures[name] for name in alone.figures()} == pytest.approx(alone.figures())
    assert seen.worst == alone.worst
    assert figures["bit_accuracy"] == pytest.approx(np.mean(bits))
    assert figures["psnr"] == pytest.approx(np.mean(noise), abs=1e-3)
    assert figures["ssim"] == pytest.approx(np.mean(alike), abs=1e-4)


def test_ssim_of_tiny_images_alone_is_no_number(
    job: Jobs, pair: Watermark, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    Image.fromarray(photographs[0][:8, :8]).save(path := tmp_path / "x.png")
    run_embedding(this := job(path), ONE)
    figures = check_embedding(this, pair.decoder)
    assert math.isnan(figures["ssim"]) and figures["psnr"] > 10


def test_nothing_to_check(job: Jobs, pair: Watermark) -> None:
    with pytest.raises(UserError, match="no fingerprinted image"):
        check_embedding(job(), pair.decoder)


def test_bits_of_the_table_are_those_of_the_words(job: Jobs) -> None:
    words = Fingerprints(16, key=Key.from_seed(5), per_image=True)
    run_embedding(this := job(), words)
    with open(this.output / EMBEDDED_TABLE, newline="") as file:
        for row in csv.DictReader(file):
            assert row["bits"] == to_text(words.of_image(row["name"]))
