"""Attributors that a longer study trains, each cached in a folder of its own.

A cached attributor is read and not made again; a training that was stopped goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from artfp.passive.attributors.bundle import (
    ATTRIBUTOR_FILE,
    FittedAttributor,
    load_attributor,
    save_attributor,
)
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.fitting.classifier import load_initial_network, train_classifier
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.settings import ClassifierSettings, StudyTrainingSettings

ATTRIBUTORS = "attributors"
"""Folder of the attributors in a study's output folder."""

SECONDS_KEY = "seconds"
"""Card entry of the time on the wall, with that of the attributor that it goes on from."""


@dataclass(frozen=True)
class CacheSettings:
    """Training and folder of cached attributors.

    `network` and `steps` are for those that are learned; steps, of the training and of the
    immunisation, are by default the recipe's. Raises UserError: a value that no training takes.
    """

    folder: Path
    network: str = "compact"
    steps: int | None = None
    immunise_steps: int | None = None
    precision: str = "32-true"
    seed: int = 0
    device: torch.device | str = "cpu"
    rules: DecisionRule = field(default_factory=DecisionRule)

    def __post_init__(self) -> None:
        for steps in (self.steps, self.immunise_steps):
            self.training("", max_steps=steps)

    def training(self, name: str, **more: Any) -> ClassifierSettings:
        """Return the settings of a training in the folder `name`, with more of them."""
        device = torch.device(self.device)
        options: dict[str, Any] = {
            "output_dir": self.folder / name,
            "network": self.network,
            "seed": self.seed,
            "precision": self.precision,
            "cuda": (device.index or 0) if device.type == "cuda" else -1,
        }
        return ClassifierSettings(**{**options, **more})


def cache_settings(
    settings: StudyTrainingSettings, output_dir: Path, rule: DecisionRule | None = None
) -> CacheSettings:
    """Return the settings of the attributors that are cached in a study's output folder."""
    return CacheSettings(
        output_dir / ATTRIBUTORS,
        settings.network,
        settings.max_steps,
        settings.immunise_steps,
        settings.precision,
        settings.seed,
        settings.torch_device(),
        rule or DecisionRule(),
    )


def cached_attributor(
    folder: Path, make: Callable[[], FittedAttributor], origin: Path | None = None
) -> tuple[FittedAttributor, float]:
    """Return the attributor of a folder, made unless it is there, and its seconds.

    The seconds of `origin`, the folder of the attributor that it goes on from, are added.
    """
    if not (folder / ATTRIBUTOR_FILE).is_file():
        start = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - start
        if origin is not None:
            seconds += load_attributor(origin).metadata[SECONDS_KEY]
        made.metadata[SECONDS_KEY] = seconds
        save_attributor(made, folder)
    found = load_attributor(folder)
    return found, float(found.metadata[SECONDS_KEY])


def cached_network(
    image_set: ImageSet,
    settings: CacheSettings,
    name: str,
    immunise: tuple[str, ...] = (),
    origin: str | None = None,
) -> FittedAttributor:
    """Return a network trained on the image set, in the folder `name`.

    With `origin`, the name of another one of the cache, it goes on from there, for the steps of an
    immunisation. Raises UserError: see `train_classifier`.
    """
    init = None
    if origin is not None:
        init = load_initial_network(settings.folder / origin, image_set.sources, origin)
    training = settings.training(
        name,
        max_steps=settings.steps if origin is None else settings.immunise_steps,
        immunise=immunise,
        resume=(settings.folder / name / "checkpoints").is_dir(),
    )
    found = train_classifier(image_set, training, settings.rules, name, init=init)
    if found is None:
        raise RuntimeError("a study runs in one process")
    return found.attributor
