"""Golden files: what a table, page or file looked like when somebody last looked at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Golden = Callable[[str, "str | bytes"], None]
"""Compares a text (or bytes) with the committed file `golden/NAME` beside the test's module."""

OPTION = "--update-golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden."""
    parser.addoption(
        OPTION, action="store_true", help="Rewrite the golden files with what the tests produce."
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare with `golden/NAME` beside the test's module; with --update-golden rewrite it."""
    folder = request.path.parent / "golden"
    update = request.config.getoption(OPTION)

    def check(name: str, found: str | bytes) -> None:
        compare(folder / name, found, bool(update))

    return check


def compare(path: Path, found: str | bytes, update: bool) -> None:
    """Fail unless the file holds what was found, byte for byte; or write it."""
    data = found.encode("utf-8", "surrogateescape") if isinstance(found, str) else found
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return
    hint = f"look at the difference, then run pytest {OPTION}"
    assert path.is_file(), f"there is no golden file {path}; {hint}"
    expected = path.read_bytes()
    if isinstance(found, str):
        wanted = expected.decode("utf-8", "surrogateescape")
        assert found == wanted, f"not what {path} holds; {hint}"
    else:
        assert data == expected, f"not what {path} holds; {hint}"
