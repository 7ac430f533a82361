"""Trained generators on disk: one `.safetensors` file with a card, like all of artfp's weights.

The card is a JSON object: `kind` (generator), `model` (its name), `resolution`, `classes` (0 or
the number of labels), `config` (all numbers of the model), `version` of artfp, and what the trainer
adds: `training` (data, steps, seed, settings) and `class_names`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import (
    Card,
    build_to_fit,
    read_card,
    read_state,
    write_bundle,
)
from artfp.generators.base import Generator
from artfp.generators.registry import configure_model, find_model
from artfp.generators.settings import check_generator_file


def save_generator(generator: Generator, path: Path, card: Card | None = None) -> Card:
    """Write a generator with its card.

    Args:
        generator: Trained generator.
        path: File, `.safetensors`.
        card: Entries that are added to those that describe the generator.

    Returns:
        The card as written.
    """
    whole: Card = {
        **(card or {}),
        "kind": "generator",
        "model": generator.model,
        "resolution": generator.resolution,
        "classes": generator.classes,
        "config": dataclasses.asdict(generator.config),
        "version": artfp.__version__,
    }
    write_bundle(generator, path, whole)
    return whole


def load_generator(path: str | Path) -> tuple[Generator, Card]:
    """Load a generator.

    Args:
        path: File of a training.

    Returns:
        The generator in evaluation mode, on the CPU, and its card.

    Raises:
        UserError: no such file, or it holds no generator that this version knows.

    Example:
        >>> import tempfile
        >>> from artfp.generators import build_model
        >>> model = build_model("dcgan", 16, changes={"width": 4})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_generator(model.generator, Path(folder, "dcgan.safetensors"))
        ...     generator, card = load_generator(Path(folder, "dcgan.safetensors"))
        >>> generator.resolution, card["model"]
        (16, 'dcgan')
    """
    path = Path(path)
    check_generator_file(path)
    card = read_card(path)
    if card.get("kind") != "generator":
        raise UserError(f"{path} holds the {card.get('kind')}, not a generator; give another file")
    try:
        name, resolution = str(card["model"]), int(card["resolution"])
        classes, numbers = int(card["classes"]), dict(card["config"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: its card does not describe a generator ({error})") from error
    try:
        model = find_model(name, resolution)
        config = configure_model(name, resolution, changes=numbers)
        missing = dataclasses.asdict(config).keys() - numbers.keys()
        if missing:
            raise UserError(f"its card lacks {', '.join(sorted(missing))}")
    except UserError as error:
        raise UserError(f"{path}: {error}; written by version {card.get('version')}") from error
    try:
        state = read_state(path)
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
            generator = build_to_fit(
                lambda: model.generator_type(resolution, config, classes), state
            )
        generator.model = name
    except UserError:
        raise
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} does not fit the generator that its card describes: {reason}"
        ) from error
    return generator.eval().requires_grad_(False), card
