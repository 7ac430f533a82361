"""Generative models by name; see `artfp.generators.base` for what a model is.

Example:
    from artfp.generators import ImageDraws, build
    model = build("dcgan", 32, seed=1)
    images = model.generator.sample(ImageDraws(0, range(16)))  # (16, 3, 32, 32) in [0, 1]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from artfp.core.errors import UserError
from artfp.generators.base import Config, GenerativeModel
from artfp.generators.models.biggan import BigGAN
from artfp.generators.models.cramergan import CramerGAN
from artfp.generators.models.cut import CUT
from artfp.generators.models.cyclegan import CycleGAN
from artfp.generators.models.dcgan import DCGAN
from artfp.generators.models.ddpm import DDPM
from artfp.generators.models.glow import Glow
from artfp.generators.models.mmdgan import MMDGAN
from artfp.generators.models.progan import ProGAN
from artfp.generators.models.sngan import SNGAN
from artfp.generators.models.stargan import StarGAN
from artfp.generators.models.stylegan2 import StyleGAN2

GANS: dict[str, type[GenerativeModel]] = {
    model.name: model
    for model in (
        DCGAN,
        SNGAN,
        CramerGAN,
        MMDGAN,
        ProGAN,
        StyleGAN2,
        BigGAN,
        Glow,
        DDPM,
        CycleGAN,
        StarGAN,
        CUT,
    )
}
"""All models, in the order in which they are listed."""


def find(name: str, resolution: int | None = None) -> type[GenerativeModel]:
    """The model of a name. Raises UserError: there is none, or not at this resolution."""
    if name not in GANS:
        raise UserError(f"no generative model is called {name!r}; choose from {', '.join(GANS)}")
    model = GANS[name]
    if resolution is not None and resolution not in model.resolutions:
        known = ", ".join(map(str, model.resolutions))
        raise UserError(f"{name} works at {known} pixels a side, not at {resolution}")
    return model


def configured(
    name: str, resolution: int, size: str = "small", changes: Mapping[str, Any] | None = None
) -> Config:
    """The configuration of a model, with `changes` to its fields.

    Raises UserError: a name, resolution, size, field or value that does not exist.
    """
    model = find(name, resolution)
    if size not in model.sizes:
        raise UserError(f"{name} comes in the sizes {', '.join(model.sizes)}, not {size!r}")
    config = model.configure(size, resolution)
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for field, value in (changes or {}).items():
        if field not in fields:
            raise UserError(f"{name} has no setting {field!r}; choose from {', '.join(fields)}")
        fields[field] = _of_type(field, value, fields[field])
    return type(config)(**fields)


def _of_type(field: str, value: Any, like: Any) -> Any:
    """A changed value in the type of the field's own; numbers may come as text."""
    wanted = type(like)
    try:
        if wanted is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if wanted is tuple:
            return tuple(_of_type(field, part, like[0]) for part in value)
        if wanted is int and int(value) != float(value):
            raise ValueError
        return wanted(value)
    except (TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        raise UserError(f"{field} is {value!r}; it must be like {like!r}") from error


def build(
    name: str,
    resolution: int,
    size: str = "small",
    seed: int = 0,
    classes: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> GenerativeModel:
    """A new model; `seed` decides all its weights, and the caller's random state stays.

    Args: `resolution` in pixels a side, `size` paper or small, `classes` of the labels (labelled
    models only), `changes` to the configuration.
    Raises UserError: see `configured`; classes for a model without labels, or none for one with; a
    package that the model needs is not installed.
    """
    model, config = find(name), configured(name, resolution, size, changes)
    if model.labelled and classes < 2:
        raise UserError(f"{name} needs labelled images of two classes or more; found {classes}")
    if not model.labelled and classes:
        raise UserError(f"{name} takes no labels; {classes} classes were given")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return model(resolution, config, classes)
        except UserError:
            raise
        except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{name} cannot be built with these settings: {reason}") from error
