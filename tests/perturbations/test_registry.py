"""Perturbations of other packages appear beside artfp's own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import Tensor

from artfp.perturbations import Perturbation, known_perturbations
from artfp.perturbations.conditions import choose
from artfp.perturbations.registry import PERTURBATIONS


class Darken(Perturbation):
    name, unit, harshest, levels = "darken", "factor", 1.0, (0.5,)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        return x * 0.5


class Nameless(Perturbation):
    """No perturbation that a command could show."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another package with a class, an object under a taken name, and what is none."""
    entries = [
        EntryPoint(name, f"{__name__}:{value}", "artfp.perturbations")
        for name, value in (("darken", "Darken"), ("jpeg", "Darken"), ("none", "Nameless"))
    ]
    parts = {"darken": Darken, "jpeg": Darken, "none": Nameless}
    monkeypatch.setattr(EntryPoint, "load", lambda entry: parts[entry.name])
    listed: Any = lambda group: [entry for entry in entries if entry.group == group]  # noqa: E731
    monkeypatch.setattr("importlib.metadata.entry_points", listed)
    known_perturbations.cache_clear()
    yield
    known_perturbations.cache_clear()


def test_without_other_packages() -> None:
    assert list(known_perturbations())[: len(PERTURBATIONS)] == list(PERTURBATIONS)


def test_perturbations_of_other_packages(installed: None) -> None:
    found = known_perturbations()
    assert list(found) == [*PERTURBATIONS, "darken"]
    assert found["jpeg"] is PERTURBATIONS["jpeg"] and isinstance(found["darken"], Darken)
    assert [each.name for each in choose(["darken"])] == ["identity", "darken@0.5"]
