"""Files with hostile names go through `detect`: its table, listing, JSON, report and console."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import one_line
from artfp.data.tables import csv_text
from artfp.ownership.key import Key, to_hex, to_text
from artfp.ownership.registry import Registry, RegistryEntry
from artfp.watermark import Watermark
from artfp.watermark.api import decode_pixels

Call = Callable[..., tuple[int, list[str], list[str]]]

WORD = Key.from_seed(3).fingerprint(16)
NAMES = sorted(
    [
        "new\nline.png",
        "carriage\r\nreturn.png",
        "tab\tand space .png",
        "quotes\"'`.png",
        "'); DROP TABLE images;--.png",
        "a,b;c.png",
        "<script>alert(1)<&amp;.png",
        "</script><script>alert(1)</script>.png",
        "<!--.png",
        "-->\"'><img src=x onerror=alert(1)>.png",
        "{{ 7 * 7 }}{% for %}.png",
        "[bold]brackets[/bold].png",
        "=HYPERLINK(\"x\",\"y\").png",
        "=1+1.png",
        "+1.png",
        "-1.png",
        "--report.png",
        "@SUM(1).png",
        "%s%n{0}$HOME\\n.png",
        "escape\x1b[31m\x07\x7f.png",
        "bidi\u202egnp.exe\u2066.png",
        "separators\u2028\u2029\x85.png",
        "not utf-8 \udcff\udc80.png",
        "= \udcff<b>\n\".png",
        "e\u0301 and \u00e9 \U0001f600.png",
        "#comment.png",
        "x" * 251 + ".png",
    ]
)  # fmt: skip
BAD = "<b>broken<\n=\udcff.png"


@dataclass(frozen=True)
class Results:
    """What a run leaves: rows of the table, lines of the listing, JSON, page, console."""

    rows: list[dict[str, str]]
    listing: bytes
    facts: dict[str, Any]
    page: str
    said: list[str]


class _Tags(HTMLParser):
    """Every tag with the names of its attributes; text and scripts apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text, self.inside = "", ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(("/", tag))
        self.inside = ""

    def handle_comment(self, data: str) -> None:
        self.tags.append(("!", data))

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text += data


@pytest.fixture
def run(call: Call, detect_words: Callable[..., list[object]], tmp_path: Path) -> Any:
    def detect(data: Path, *more: object) -> Results:
        page, facts, output = (tmp_path / f"{data.name}.{end}" for end in ("html", "json", "d"))
        words = detect_words(
            output.name, "--num_workers", 0, "--report", page, "--json", facts, *more, data=data
        )
        code, out, err = call("detect", *words)
        assert code == (len(os.listdir(data)) > 10), err  # 1 where an image could not be used
        with open(
            output / "detected_fingerprints.csv",
            newline="",
            encoding="utf-8",
            errors="surrogateescape",
        ) as file:
            read = list(csv.DictReader(file, strict=True))
        cells = [cell for row in read for cell in row.values()]
        assert not [cell for cell in cells if cell[:1] in (*"=+@\t\r\n",) or cell.startswith("--")]
        rows = [{column: csv_text(cell) for column, cell in row.items()} for row in read]
        return Results(
            rows,
            (output / "detected_fingerprints.txt").read_bytes(),
            json.loads(facts.read_bytes().decode("ascii")),
            page.read_bytes().decode("utf-8"),
            out + err,
        )

    return detect


@pytest.fixture
def hostile(photographs: list[np.ndarray], tmp_path: Path) -> Path:
    """An image for each name, each of another piece, and one that cannot be read."""
    (folder := tmp_path / "hostile").mkdir()
    for number, name in enumerate(NAMES):
        path = folder / name  # a slash in the name is a folder: "<" holds "script>..."
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photographs[0][number * 9 : number * 9 + 48, 100:148]).save(path)
    (folder / BAD).write_bytes(b"\x89PNG\r\n\x1a\n<script>")
    return folder


@pytest.fixture
def harmless(hostile: Path, tmp_path: Path) -> Path:
    """The same images under names that do nothing, in the same order."""
    (folder := tmp_path / "harmless").mkdir()
    for number, name in enumerate(sorted([*NAMES, BAD])):
        shutil.copy(hostile / name, folder / f"{number:03}.png")
    return folder


def test_names_come_through_unchanged_and_with_their_own_bits(
    run: Callable[..., Results], hostile: Path, pair: Watermark
) -> None:
    found = run(hostile, "--fingerprint", to_hex(WORD), "--same_source")
    assert [row["name"] for row in found.rows] == sorted([*NAMES, BAD])
    assert {image["name"] for image in found.facts["evidence"]} == set(NAMES)
    assert [image["name"] for image in found.facts["unreadable"]] == [BAD]
    matches = {image["name"]: image["matches"] for image in found.facts["evidence"]}
    for row in found.rows:
        assert None not in row and None not in row.values()  # as many fields as columns
        if row["name"] == BAD:
            assert row["error"] and not row["bits"]
            continue
        with Image.open(hostile / row["name"]) as image:
            word = decode_pixels(pair.decoder, np.asarray(image))
        assert row["bits"] == to_text(word)
        assert int(row["matches"]) == matches[row["name"]] == int((word == WORD).sum())

    lines = found.listing.decode("ascii", "surrogateescape").split("\n")
    assert len(lines) == len(NAMES) + 1 and lines[-1] == ""
    assert len(found.listing.decode("utf-8").splitlines()) == len(NAMES)


@pytest.mark.parametrize("registered", [False, True])
def test_names_are_no_part_of_the_page(
    run: Callable[..., Results], hostile: Path, harmless: Path, tmp_path: Path, registered: bool
) -> None:
    """The page is built of the same tags as that of images with harmless names."""
    words = ["--fingerprint", to_hex(WORD)]
    if registered:
        path = tmp_path / "<script>'\"&.registry"
        with Registry(path, create=True) as made:
            made.add(
                RegistryEntry.of(WORD, "=<script>alert(1)</script>\"'", "<!--{{ 7 * 7 }}&amp;")
            )
            made.add(RegistryEntry.of(1 - WORD, "</script><img src=x onerror=alert(1)>", "[b]cats"))
        words = ["--registry", str(path)]
    found, plain = run(hostile, *words), run(harmless, *words)
    page = _Tags(found.page)
    assert page.tags == _Tags(plain.page).tags
    for name in (*NAMES, BAD):
        assert one_line(name) in page.text
    assert not any(char in found.page for char in "\x1b\x07\x7f\x85\u2028\u2029\u202e\u2066")
    assert "alert(1)" in page.text and "49" not in page.text.split("7 * 7")[1][:20]
    copy = found.page.split('id="artfp-detection">')[1].split("</script>")[0]
    assert json.loads(copy)["evidence"] != [] and not set("<>&") & set(copy)
    assert {image["name"] for image in json.loads(copy)["evidence"]} == set(NAMES)


def test_names_do_not_reach_the_terminal(run: Callable[..., Results], hostile: Path) -> None:
    found = run(hostile, "--fingerprint", to_hex(WORD))
    for line in found.said:
        assert line.replace("\t", "").isprintable(), line  # tabs part columns
    assert any("broken" in line for line in found.said)


def test_marks_of_the_console_are_no_marks_in_names(
    run: Callable[..., Results], photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    names = ["[bold]b[/bold].png", "[/].png", ":smile:[link=x]a.png"]
    for number, name in enumerate(names):
        (path := tmp_path / "marks" / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(photo_folder / f"{number:03}.png", path)
    found = run(tmp_path / "marks", "--fingerprint", to_hex(WORD))
    for name in names:
        assert any(name in line for line in found.said)


def test_a_folder_with_a_hostile_name(
    run: Callable[..., Results], photo_folder: Path, tmp_path: Path
) -> None:
    (folder := tmp_path / "<script>\n=\"'&\udcff").mkdir()
    os.link(photo_folder / "000.png", folder / "000.png")
    found = run(folder, "--fingerprint", to_hex(WORD))
    assert found.facts["source"] == str(folder)
    page = _Tags(found.page)
    assert sum(tag[0] == "script" for tag in page.tags) == 1
    assert one_line(str(folder)) in page.text
    assert all(line.replace("\t", "").isprintable() for line in found.said)
