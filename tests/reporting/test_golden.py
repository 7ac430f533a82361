"""The fixture of golden files notices a change, and rewrites on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import Golden, compare


def test_equal_text_passes(golden: Golden) -> None:
    golden("example.txt", "one line\nand an ü\n")


def test_changed_text_fails(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("old\n")
    with pytest.raises(AssertionError, match="update-golden"):
        compare(tmp_path / "page.md", "new\n", update=False)


def test_missing_file_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no golden file"):
        compare(tmp_path / "page.md", "new\n", update=False)


@pytest.mark.parametrize("found", ["new\r\n\udcff", b"\x00\xff"])
def test_update_writes_what_was_found(tmp_path: Path, found: str | bytes) -> None:
    path = tmp_path / "deep" / "page"
    compare(path, found, update=True)
    compare(path, found, update=False)
