"""Generative models by name: artfp's own, and those that other packages add."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from artfp.core.errors import UserError
from artfp.core.plugins import with_plugins
from artfp.generators.base import SIZES, GenerativeModel, ModelConfig
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

_OWN: tuple[type[GenerativeModel], ...] = (
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


@cache
def generative_models() -> dict[str, type[GenerativeModel]]:
    """Return all generative models by name.

    Other packages add theirs as entry points of the group `artfp.generators`, each of which names a
    `GenerativeModel` class under its `name`.

    Returns:
        The classes, artfp's own first.

    Example:
        >>> list(generative_models())[:3]
        ['dcgan', 'sngan', 'cramergan']
    """
    return with_plugins("artfp.generators", {model.name: model for model in _OWN}, _model_class)


def _model_class(found: Any) -> type[GenerativeModel] | None:
    return found if isinstance(found, type) and issubclass(found, GenerativeModel) else None


def find_model(name: str, resolution: int | None = None) -> type[GenerativeModel]:
    """Return the class of a model.

    Args:
        name: Name of the model.
        resolution: Side in pixels at which it has to work; None: any.

    Returns:
        The class.

    Raises:
        UserError: there is no such model, or it does not work at this resolution.

    Example:
        >>> find_model("glow").reference
        'Kingma, Dhariwal, NeurIPS 2018, arXiv 1807.03039'
    """
    known = generative_models()
    if name not in known:
        raise UserError(f"no generative model is called {name!r}; choose from {', '.join(known)}")
    model = known[name]
    if resolution is not None and resolution not in model.resolutions:
        sides = ", ".join(map(str, model.resolutions))
        raise UserError(f"{name} works at {sides} pixels a side, not at {resolution}")
    return model


def configure_model(
    name: str, resolution: int, size: str = "small", changes: Mapping[str, Any] | None = None
) -> ModelConfig:
    """Return the configuration of a model, with `changes` to its fields.

    Raises UserError: a name, resolution, size, field or value that does not exist.
    """
    model = find_model(name, resolution)
    if size not in SIZES:
        raise UserError(f"{name} comes in the sizes {', '.join(SIZES)}, not {size!r}")
    config = model.configure(size, resolution)
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for field, value in (changes or {}).items():
        if field not in fields:
            raise UserError(f"{name} has no setting {field!r}; choose from {', '.join(fields)}")
        fields[field] = _of_type(field, value, fields[field])
    return type(config)(**fields)


def _of_type(field: str, value: Any, like: Any) -> Any:
    """Return a changed value in the type of the field's own; numbers may come as text."""
    wanted = type(like)
    try:
        if wanted is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if wanted is tuple:
            value = (value,) if isinstance(value, str) else value
            return tuple(_of_type(field, part, like[0]) for part in value)
        if wanted is int and int(value) != float(value):
            raise ValueError
        return wanted(value)
    except (TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        raise UserError(f"{field} is {value!r}; it must be like {like!r}") from error


def build_model(
    name: str,
    resolution: int,
    size: str = "small",
    seed: int = 0,
    classes: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> GenerativeModel:
    """Build an untrained model; the caller's random state stays.

    Args:
        name: Name of the model, see `generative_models`.
        resolution: Side of its images in pixels.
        size: Configuration: small, for two CPU cores, or paper.
        seed: Seed of all weights.
        classes: Number of classes of the labels, for a labelled model and no other.
        changes: Numbers of the configuration to change, by name.

    Returns:
        The model.

    Raises:
        UserError: a name, resolution, size or number that does not exist; classes for a model
            without labels, or none for one with; a package that the model needs is not installed.

    Example:
        >>> from artfp.nn import ImageRandomInputs
        >>> model = build_model("dcgan", 32, seed=1, changes={"width": 8})
        >>> model.generator.sample(ImageRandomInputs(0, range(4))).shape
        torch.Size([4, 3, 32, 32])
    """
    model, config = find_model(name), configure_model(name, resolution, size, changes)
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
