"""Calibration of a decoder on images: which, what is counted, and what stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError
from artfp.data import decode_image, open_source
from artfp.data.resume import Journal
from artfp.ownership.key import Key
from artfp.stats import Calibration, calibrate_decoder
from artfp.watermark import Watermark
from artfp.watermark.api import decode_pixels
from artfp.watermark.calibrate import Calibrator, CombinedSource, run_calibration
from artfp.watermark.decode import DecodingJob
from artfp.watermark.prediction_loop import make_trainer

Run = Callable[..., Calibrator]


@pytest.fixture
def places(photo_folder: Path, tmp_path: Path) -> list[str]:
    """Three places with 40, 7 and 3 of the photographs, two of them of the same name."""
    for number, (name, count) in enumerate((("a/clean", 40), ("b/clean", 7), ("c", 3))):
        (folder := tmp_path / name).mkdir(parents=True)
        for photo in sorted(photo_folder.iterdir())[40 * number :][:count]:
            shutil.copy(photo, folder)
    return [str(tmp_path / name) for name in ("a/clean", "b/clean", "c")]


@pytest.fixture
def run(pair: Watermark, tmp_path: Path) -> Run:
    """Calibrates the small decoder on places, into `calibration.json`."""

    def calibrated(places: list[str], **fields: object) -> Calibrator:
        output, options = tmp_path / "calibration.json", {"keys": 5, "made": {"realign": False}}
        made = Calibrator(16, "abc", output=output, **{**options, **fields})  # type: ignore[arg-type]
        trainer = make_trainer()
        source, folder = CombinedSource(places), tmp_path / "work"
        job = DecodingJob(source, folder, pair.decoder, "abc", trainer, batch_size=8, num_workers=0)
        run_calibration(job, made)
        return made

    return calibrated


@pytest.mark.parametrize(
    ("most", "shares"), [(None, (40, 7, 3)), (12, (5, 4, 3)), (30, (20, 7, 3)), (99, (40, 7, 3))]
)
def test_each_place_gives_as_many_as_it_can(
    places: list[str], most: int | None, shares: tuple[int, ...]
) -> None:
    source = CombinedSource(places, most)
    assert source.titles == ["clean", "clean~2", "c"]
    names = {
        title: [n for n in source.names if n.startswith(f"{title}/")] for title in source.titles
    }
    assert tuple(map(len, names.values())) == shares
    assert len(source) == sum(shares) and source.names == sorted(source.names)
    whole = [open_source(place) for place in places]
    for title, each in zip(source.titles, whole, strict=True):
        for name in names[title]:
            original = name.removeprefix(f"{title}/")
            assert source.read(source.names.index(name)) == each.read(each.names.index(original))
    if most == 12:  # from the beginning to the end of a place
        assert [name[-7:-4] for name in names["clean"]] == ["000", "008", "016", "024", "032"]


def test_a_calibration_is_that_of_the_words_that_the_images_decode_to(
    run: Run, places: list[str], pair: Watermark, tmp_path: Path
) -> None:
    found = run(places, logits=tmp_path / "l.npz").calibration
    source = CombinedSource(places)
    pictures = [decode_image(source.read(i)).pixels for i in range(len(source))]
    words = np.stack([decode_pixels(pair.decoder, pixels) for pixels in pictures])
    keys = np.stack([Key.from_seed(i).fingerprint(16) for i in range(5)])
    expected = calibrate_decoder(words, keys, "abc")
    assert found is not None and found.images == expected.images == 50
    assert found.keys == expected.keys
    assert [bias.ones for bias in found.biases] == [bias.ones for bias in expected.biases]
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert Calibration.from_dict(content, "abc") == found
    assert content["made"]["realign"] is False and "test keys" in content["made"]["keys"]
    with np.load(tmp_path / "l.npz") as file:
        order = np.argsort(file["names"])
        assert file["names"][order].tolist() == source.names
        assert np.array_equal(file["logits"][order] > 0, words == 1)
    assert not (tmp_path / "work").exists()


def test_a_stopped_run_goes_on(
    run: Run, places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, real, count = run(places).calibration, Journal.append, 0
    (tmp_path / "calibration.json").unlink()

    def failing(self: Journal, record: dict[str, object]) -> None:
        nonlocal count
        count += 1
        if count > 20:
            raise RuntimeError("stopped")
        real(self, record)

    monkeypatch.setattr(Journal, "append", failing)
    with pytest.raises(RuntimeError, match="stopped"):
        run(places)
    assert len(Journal(tmp_path / "work", "detect").records()) == 20
    assert not (tmp_path / "calibration.json").exists()
    with pytest.raises(UserError, match="other settings: 'source'"):
        run(places[:1])
    count = -10  # so that 30 more can be written
    assert run(places).calibration == whole
    assert count == 20  # not one more was decoded
    assert not (tmp_path / "work").exists()


def test_files_of_others_stay(run: Run, places: list[str], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/notes.txt").write_text("mine")
    run(places)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["notes.txt"]


def test_too_few_images(run: Run, tmp_path: Path) -> None:
    (folder := tmp_path / "few").mkdir()
    Image.new("RGB", (48, 48)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="only 1 of the images"):
        run([str(folder)])
