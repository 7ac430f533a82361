"""Commands as functions of a program: settings in, results out, nothing printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfp.core.errors import UserError
from artfp.ownership.key import Key
from artfp.watermark import (
    EmbedSettings,
    MeasureSettings,
    Watermark,
    embed_folder,
    measure_folder,
)
from artfp.watermark.demo import run_demo
from artfp.watermark.settings import FINGERPRINTED_FOLDER, DemoSettings
from artfp.watermark.training.settings import TrainSettings
from tests.progress import recorded_progress


def test_embed_folder(
    weights: Path, photo_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = EmbedSettings(
        data_dir=str(photo_folder),
        output_dir=tmp_path / "out",
        encoder_path=str(weights / "encoder.safetensors"),
        identical_fingerprints=True,
        check=True,
        num_workers=0,
        cuda=-1,
    )
    with recorded_progress() as lines:
        result = embed_folder(settings)
    assert result is not None and (result.written, result.before, result.failed) == (120, 0, [])
    assert result.checked is not None and result.checked["bit_accuracy"] > 0.9
    assert 0 < result.checked["scielab_p95_60"] < result.checked["scielab_p95_60_worst"]
    assert result.most_visible.endswith(".png")
    assert [(line.caption, line.done, line.total) for line in lines] == [
        ("Embedding", 120, 120),
        ("Checking", 120, 120),
    ]
    again = embed_folder(settings)
    assert again is not None and again.before == 120
    assert capfd.readouterr().out == ""
    watermark = Watermark.load(weights / "encoder.safetensors")
    fingerprint = Key.load(tmp_path / "out/fingerprint.key.json").fingerprint(16)
    from PIL import Image

    marked = Image.open(tmp_path / "out" / FINGERPRINTED_FOLDER / "000.png")
    assert watermark.detect(marked, fingerprint).matches >= 14


def test_measure_folder(weights: Path, photo_folder: Path) -> None:
    settings = MeasureSettings(
        data_dir=str(photo_folder),
        encoder_path=str(weights / "encoder.safetensors"),
        sizes=("40x30", "32x32"),
        strengths=(1.0, 2.0, 1.0),
        limit=3,
    )
    with recorded_progress() as lines:
        found = measure_folder(settings)
    assert len(found.figures) == 4 and found.failed == []
    assert [(line.caption, line.done, line.total) for line in lines] == [("Measuring", 12, 12)]


def test_a_second_demo_takes_the_key_of_the_first(weights: Path, tmp_path: Path) -> None:
    settings = DemoSettings(
        output_dir=tmp_path / "demo", weights=str(weights / "encoder.safetensors")
    )
    with recorded_progress() as lines:
        first = run_demo(settings)
    assert [line.caption for line in lines] == ["Embedding", "Decoding"]
    key = (tmp_path / "demo/fingerprint.key.json").read_bytes()
    picture = first.picture.read_bytes()
    second = run_demo(settings)
    assert second == first and first.picture.read_bytes() == picture
    assert (tmp_path / "demo/fingerprint.key.json").read_bytes() == key
    assert len(first.rows) == 6 and all(row.matches >= 14 for row in first.rows)
    worst = max(first.rows, key=lambda row: row.scielab_p95_60)
    assert f"(worst {worst.scielab_p95_60:.2f}, {worst.name})" in first.visibility


def test_settings_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--min_psnr is 101"):
        MeasureSettings(data_dir="x", min_psnr=101.0)
    with pytest.raises(UserError, match="--sizes: found '5'"):
        MeasureSettings(data_dir="x", sizes=("5",))
    with pytest.raises(UserError, match="choose an output folder outside"):
        EmbedSettings(data_dir=str(tmp_path), output_dir=tmp_path / "out")
    with pytest.raises(UserError, match="--fingerprint_size is 600"):
        TrainSettings(data_dir="x", output_dir=tmp_path, bits=600)
