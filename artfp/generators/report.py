"""Table of the generative models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from artfp.core.errors import UserError
from artfp.data.tables import Column


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


_SIDES, _TRANSLATED = (16, 32, 64, 128), (32, 64, 128, 256)

OWN_MODELS = (
    ModelRow(
        "dcgan",
        "unconditional",
        _SIDES,
        1.732292,
        6.08602,
        "Radford, Metz, Chintala, ICLR 2016, arXiv 1511.06434",
    ),
    ModelRow(
        "sngan",
        "unconditional",
        _SIDES,
        1.954852,
        5.330564,
        "Miyato, Kataoka, Koyama, Yoshida, ICLR 2018, arXiv 1802.05957",
    ),
    ModelRow(
        "cramergan",
        "unconditional",
        _SIDES,
        1.454979,
        2.891331,
        "Bellemare et al., 2017, arXiv 1705.10743",
    ),
    ModelRow(
        "mmdgan",
        "unconditional",
        _SIDES,
        1.382003,
        1.908051,
        "Binkowski et al., ICLR 2018, arXiv 1801.01401; Li et al., 2017, arXiv 1705.08584",
    ),
    ModelRow(
        "progan",
        "unconditional",
        _SIDES,
        0.666285,
        41.454093,
        "Karras, Aila, Laine, Lehtinen, ICLR 2018, arXiv 1710.10196",
    ),
    ModelRow(
        "stylegan2",
        "unconditional",
        _SIDES,
        0.754644,
        43.032084,
        "Karras et al., CVPR 2020, arXiv 1912.04958 (configuration F)",
    ),
    ModelRow(
        "biggan",
        "class-conditional",
        _SIDES,
        0.130718,
        8.658438,
        "Brock, Donahue, Simonyan, ICLR 2019, arXiv 1809.11096",
    ),
    ModelRow(
        "glow",
        "unconditional",
        _SIDES,
        0.74244,
        44.057256,
        "Kingma, Dhariwal, NeurIPS 2018, arXiv 1807.03039",
    ),
    ModelRow(
        "ddpm",
        "unconditional",
        _SIDES,
        1.121324,
        35.746307,
        "Ho, Jain, Abbeel, NeurIPS 2020, arXiv 2006.11239",
    ),
    ModelRow(
        "cyclegan",
        "translator",
        _TRANSLATED,
        1.112808,
        21.195656,
        "Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593",
    ),
    ModelRow(
        "stargan",
        "translator",
        _TRANSLATED,
        1.093171,
        19.611843,
        "Choi, Choi, Kim, Ha, Kim, Choo, CVPR 2018, arXiv 1711.09020",
    ),
    ModelRow(
        "cut",
        "translator",
        _TRANSLATED,
        0.592052,
        14.697156,
        "Park, Efros, Zhang, Zhu, ECCV 2020, arXiv 2007.15651",
    ),
)
"""Rows of artfp's own models as `describe_model` gives them: to list them loads nothing heavy."""


def describe_models() -> list[ModelRow]:
    """Return a row for each generative model; those of plugins are built for it."""
    if len(model_names()) == len(OWN_MODELS):
        return list(OWN_MODELS)
    from artfp.generators.registry import generative_models

    added = list(generative_models())[len(OWN_MODELS) :]
    return [*OWN_MODELS, *map(describe_model, added)]


def model_names() -> list[str]:
    """Return the names of artfp's models, and those that other packages say they add."""
    added = (entry.name for entry in metadata.entry_points(group="artfp.generators"))
    return list(dict.fromkeys([*(row.name for row in OWN_MODELS), *added]))


def describe_model(name: str) -> ModelRow:
    """Return the row of a model. Raises UserError: there is none of this name."""
    from artfp.generators.registry import find_model

    model = find_model(name)
    small, paper = _parameters(name, "small"), _parameters(name, "paper")
    return ModelRow(name, model.kind(), model.resolutions, small, paper, model.reference)


def _parameters(name: str, size: str) -> float | None:
    """Millions of a model's parameters; None if it needs a package that is not installed."""
    import torch

    from artfp.generators.registry import build_model, find_model

    model = find_model(name)
    side = 32 if 32 in model.resolutions else model.resolutions[0]
    try:
        with torch.device("meta"):  # neither drawn nor held
            built = build_model(name, side, size, 0, 10 if model.labelled else 0)
    except UserError:
        return None
    return sum(p.numel() for p in built.parameters()) / 1e6
