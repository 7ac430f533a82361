"""Table of the generative models."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from artfp.core.errors import UserError
from artfp.data.tables import Column
from artfp.generators.registry import build_model, find_model, generative_models


@dataclass(frozen=True)
class ModelRow:
    """Model: its parameters are millions, None if a package that it needs is not installed."""

    name: str
    kind: str
    resolutions: tuple[int, ...]
    small_parameters: float | None
    paper_parameters: float | None
    reference: str


MODEL_COLUMNS = (
    Column("name"),
    Column("kind"),
    Column("pixels a side", lambda row: ", ".join(map(str, row.resolutions))),
    Column("parameters, small", "small_parameters", lambda millions: f"{millions:.1f}M"),
    Column("paper", "paper_parameters", lambda millions: f"{millions:.1f}M"),
    Column("reference"),
)


def describe_models() -> list[ModelRow]:
    """Return a row for each generative model."""
    return [
        ModelRow(
            name,
            model.kind(),
            model.resolutions,
            _parameters(name, "small"),
            _parameters(name, "paper"),
            model.reference,
        )
        for name, model in generative_models().items()
    ]


def _parameters(name: str, size: str) -> float | None:
    """Millions of a model's parameters; None if it needs a package that is not installed."""
    model = find_model(name)
    side = 32 if 32 in model.resolutions else model.resolutions[0]
    try:
        with torch.device("meta"):  # neither drawn nor held
            built = build_model(name, side, size, 0, 10 if model.labelled else 0)
    except UserError:
        return None
    return sum(p.numel() for p in built.parameters()) / 1e6
