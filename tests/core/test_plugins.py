"""Parts that other packages add."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import metadata

import pytest

from artfp.core.plugins import GROUPS, with_plugins

Entries = dict[str, str]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Entries], None]:
    """Pretend that a package declares these entry points in a group."""

    def declare(group: str, entries: Entries) -> None:
        points = [metadata.EntryPoint(name, value, group) for name, value in entries.items()]
        monkeypatch.setattr(
            metadata, "entry_points", lambda group: [p for p in points if p.group == group]
        )

    return declare


def is_number(found: object) -> float | None:
    return found if isinstance(found, float) else None


def test_plugins_stand_after_artfps_own(installed: Callable[[str, Entries], None]) -> None:
    installed("artfp.perturbations", {"pi": "math:pi"})
    assert with_plugins("artfp.perturbations", {"one": 1.0}, is_number) == pytest.approx(
        {"one": 1.0, "pi": 3.141592653589793}
    )
    assert with_plugins("artfp.generators", {"one": 1.0}, is_number) == {"one": 1.0}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"one": "math:pi"}, "plugin one = math:pi: the name is taken"),
        ({"x": "nowhere_at_all:pi"}, "plugin x = nowhere_at_all:pi failed: No module named"),
        ({"x": "math:nothing"}, "plugin x = math:nothing failed"),
        ({"x": "math:sin"}, "plugin x = math:sin is not a perturbation"),
    ],
)
def test_what_cannot_serve_is_left_out_with_a_warning(
    installed: Callable[[str, Entries], None],
    entries: Entries,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed("artfp.perturbations", entries)
    with caplog.at_level(logging.WARNING, "artfp"):
        assert with_plugins("artfp.perturbations", {"one": 1.0}, is_number) == {"one": 1.0}
    assert caplog.messages[0].startswith(message)


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(KeyError):
        with_plugins("artfp.nothing", {})
    assert all(name.startswith("artfp.") for name in GROUPS)
