"""Attributors that a longer study trains on its way, each kept in a folder of its own.

What is there is read and not made again; a training that was stopped goes on.
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
from artfp.passive.fitting.classifier import load_network, train_classifier
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.networks.classifier import ClassifierDesign
from artfp.passive.training.classifier_fit import AttributorTraining

ATTRIBUTORS = "attributors"
"""Folder of them in a study's output folder."""

SECONDS_KEY = "seconds"
"""What the card calls the time on the wall that it took, with what it goes on from."""


@dataclass(frozen=True)
class CacheSettings:
    """How attributors are made.

    `folder`, where they are kept. `network` of NETWORKS for those that are learned; `steps`, of its
    training and of the immunisation, by default the recipe's. Raises UserError: a value that no
    training takes.
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
            self.training("", ClassifierDesign(self.network), max_steps=steps)

    def training(self, name: str, design: ClassifierDesign, **more: Any) -> AttributorTraining:
        """The settings of a training in the folder `name`, with more of them."""
        return AttributorTraining(
            self.folder / name,
            design,
            seed=self.seed,
            trainer=self._trainer(),
            **more,
        )

    def _trainer(self) -> dict[str, Any]:
        """Arguments of Lightning's Trainer."""
        device = torch.device(self.device)
        where: dict[str, Any] = {"accelerator": "cpu", "devices": 1}
        if device.type == "cuda":
            where = {"accelerator": "gpu", "devices": [device.index or 0]}
        return {**where, "precision": self.precision}


def cached_attributor(
    folder: Path, make: Callable[[], FittedAttributor], origin: Path | None = None
) -> tuple[FittedAttributor, float]:
    """The attributor of a folder, made unless it is there; and the seconds that it took.

    `origin`, the folder of what it goes on from, whose seconds come to its own.
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
    """A network trained on the material, whose side is the window's; in the folder `name`.

    With `origin`, the name of another one of the folder, it goes on from there, for the steps of an
    immunisation. Raises UserError: see `train_classifier`.
    """
    training = settings.training(
        name,
        ClassifierDesign(settings.network, image_set.policy.window[0]),
        max_steps=settings.steps if origin is None else settings.immunise_steps,
        immunise=immunise,
        init=None if origin is None else load_network(settings.folder / origin, image_set.sources),
        origin=origin,
        resume=(settings.folder / name / "checkpoints").is_dir(),
    )
    found = train_classifier(image_set, training, settings.rules, name)
    if found is None:
        raise RuntimeError("a study runs in one process")
    return found.attributor
