"""What tells sources apart by their files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from artfp.data.sources import open_source
from artfp.passive.fitting.leakage import (
    PROPERTIES,
    compare_properties,
    file_properties,
    find_leakage,
)
from tests.progress import recorded_progress

Encode = Callable[..., bytes]


@pytest.fixture
def encoded() -> Encode:
    """An image file of noise with options of Pillow's `save`."""

    def make(
        number: int = 0, side: int = 32, mode: str = "RGB", form: str = "PNG", **options: object
    ) -> bytes:
        shape = (side, side) if mode == "L" else (side, side, 3)
        noise = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, form, **options)
        return buffer.getvalue()

    return make


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels after JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Forty pictures of 32 pixels that never were JPEG: smoothed noise with grain."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(40):
        smooth = ndimage.gaussian_filter(rng.standard_normal((32, 32, 3)), (2, 2, 0)) * 300
        whole = 128 + smooth + 4 * rng.standard_normal((32, 32, 1))
        found.append(whole.round().clip(0, 255).astype(np.uint8))
    return found


def test_facts(encoded: Encode) -> None:
    facts = file_properties(
        encoded(side=40, form="JPEG", quality=83, subsampling=1, progressive=True)
    )
    assert facts is not None and set(facts) == set(PROPERTIES)
    assert facts["format"] == "JPEG" and facts["size"] == "40x40"
    assert facts["scale"] == "32 to 63 pixels" and facts["colour mode"] == "RGB"
    assert facts["JPEG quantisation"] == "quality 83" and facts["JPEG subsampling"] == "4:2:2"
    assert facts["JPEG scans"] == "progressive" and facts["metadata"] == "none"
    own = [[number + 1 for number in range(64)]] * 2
    other = file_properties(encoded(form="JPEG", qtables=own))
    assert other is not None and other["JPEG quantisation"].startswith("tables ")
    gray = file_properties(encoded(mode="L", form="JPEG", quality=60))
    assert gray is not None and gray["JPEG quantisation"] == "quality 60"
    assert gray["JPEG subsampling"] == "gray" and gray["colour mode"] == "L"


def test_metadata_by_name(encoded: Encode) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    facts = file_properties(encoded(form="JPEG", exif=exif, icc_profile=b"x" * 140))
    assert facts is not None and facts["metadata"] == "EXIF Make, icc_profile"


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"nothing"])
def test_what_is_no_image(data: bytes) -> None:
    assert file_properties(data) is None


def test_equal_sources_pass(encoded: Encode) -> None:
    known = {name: [file_properties(encoded(i)) for i in range(30)] for name in ("a", "b", "c")}
    assert compare_properties(known) == []  # type: ignore[arg-type]


def test_sizes_drawn_alike_pass() -> None:
    """Values that are rare in each source must not tell them apart."""
    rng = np.random.default_rng(3)
    plain = dict.fromkeys(PROPERTIES, "none")
    known = {
        name: [{**plain, "size": str(rng.integers(0, 40))} for _ in range(200)]
        for name in ("a", "b", "c", "d")
    }
    assert compare_properties(known) == []
    # Even where hardly a value comes twice, as with metadata that hold a number.
    known = {
        name: [{**plain, "size": str(rng.integers(0, 5000))} for _ in range(200)]
        for name in ("a", "b")
    }
    assert compare_properties(known) == []


def test_what_tells_them_apart(encoded: Encode) -> None:
    known = {
        "one": [file_properties(encoded(i, form="JPEG", quality=75)) for i in range(40)],
        "two": [file_properties(encoded(i, form="JPEG", quality=95)) for i in range(40)],
        "raw": [file_properties(encoded(i)) for i in range(40)],
    }
    tables, form = compare_properties(known)  # type: ignore[arg-type]
    assert (tables.property, tables.accuracy, tables.chance) == ("JPEG quantisation", 1.0, 1 / 3)
    assert tables.values["one"] == {"quality 75": 1.0} and tables.values["raw"] == {"none": 1.0}
    # Of the JPEG sources one is right for each image, a coin has to say which.
    assert form.property == "format" and form.accuracy == pytest.approx(2 / 3)
    assert "100%" in str(tables) and "33%" in str(tables) and "\n" not in str(tables)


def test_jpeg_before_png(pictures: list[np.ndarray], tmp_path: Path) -> None:
    """One source was JPEG once; all files are PNG of one size."""
    for name in ("raw", "other", "was"):
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(pictures):
            shown = pixels[::-1] if name == "other" else pixels
            shown = through_jpeg(shown, 90) if name == "was" else shown
            Image.fromarray(np.ascontiguousarray(shown)).save(tmp_path / name / f"{number}.png")
    found = find_leakage({name: open_source(tmp_path / name) for name in ("raw", "was")})
    (only,) = found
    assert only.property == "JPEG traces" and only.accuracy == 1.0
    assert "was: found 100%" in str(only) and "raw: none 100%" in str(only)
    assert find_leakage({name: open_source(tmp_path / name) for name in ("raw", "other")}) == []


def test_jpeg_files_beside_what_was_jpeg(pictures: list[np.ndarray]) -> None:
    """The format tells them apart, the traces do not."""
    known: dict[str, list[Mapping[str, str]]] = {"jpeg": [], "was": []}
    for pixels in pictures:
        for name, form in (("jpeg", "JPEG"), ("was", "PNG")):
            buffer = io.BytesIO()
            Image.fromarray(through_jpeg(pixels, 90)).save(buffer, form)
            facts = file_properties(buffer.getvalue())
            assert facts is not None and facts["JPEG traces"] == "found"
            known[name].append(facts)
    assert "JPEG traces" not in {finding.property for finding in compare_properties(known)}


def test_a_share_is_found_and_measured() -> None:
    """Of `a` 80% are of another size: the best rule is right for .8 of a and all of b."""
    plain = dict.fromkeys(PROPERTIES, "none")
    known = {
        "a": [{**plain, "size": "big" if i % 5 else "small"} for i in range(500)],
        "b": [{**plain, "size": "small"} for i in range(100)],
    }
    (found,) = compare_properties(known)
    assert found.property == "size" and found.accuracy == pytest.approx(0.9)
    assert 0.86 < found.low < 0.9


def test_one_source_tells_nothing(encoded: Encode) -> None:
    facts = file_properties(encoded())
    assert facts is not None
    assert compare_properties({"a": [facts] * 9, "b": []}) == []


def test_sources_on_disk(encoded: Encode, tmp_path: Path) -> None:
    for name, side in (("a", 16), ("b", 48)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for i in range(20):
                archive.writestr(f"{i}.png", encoded(i, side=side))
            archive.writestr("bad.png", b"no image")
    sources = {name: open_source(tmp_path / f"{name}.zip") for name in ("a", "b")}
    with recorded_progress() as lines:
        (found,) = find_leakage(sources, limit=15)
    assert found.property == "size" and found.accuracy == 1.0
    assert [(line.done, line.total) for line in lines] == [(30, 30)]
