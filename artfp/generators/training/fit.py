"""One whole training of a generative model: from settings to a generator, a card and a picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from artfp.core.errors import UserError
from artfp.core.lightning import (
    check_above,
    check_not_below,
    last_checkpoint,
    lightning_options,
    new_trainer,
    precision_of,
    resumed,
)
from artfp.data.bundle import Card
from artfp.data.files import file_hash, write_atomic
from artfp.data.resume import Manifest
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.generators import build_model, find_model
from artfp.generators.base import GenerativeModel, ImageBatch
from artfp.generators.registry import configure_model
from artfp.generators.training.callbacks import SHOWN, Samples, gallery
from artfp.generators.training.data import GanData, labels_of
from artfp.generators.training.module import GenerativeModule
from artfp.generators.training.pretrained import GENERATOR, Pretrained
from artfp.generators.weights import load_generator, save_generator
from artfp.reporting.image_grid import encode_picture

SNAPSHOTS = "snapshots"

_log = logging.getLogger("artfp")


@dataclass
class GanTraining:
    """What decides a training of a generative model; see `artfp gan train --help` for each.

    `data_dirs` has a folder, zip or list for each domain of the model. `changes` are made to its
    configuration. `max_steps` and `batch_size` (of a turn, in each process) are the
    configuration's where they are None. `limit`: at most so many images of each domain. `init` is
    what the training goes on from: resolution and configuration are then the generator's, and in
    the first `hold` steps only the other networks learn (None: see `Pretrained`). `trainer` holds
    further arguments of Lightning's Trainer.

    Raises UserError: a number that cannot be, or a generator of another model.
    """

    name: str
    data_dirs: Sequence[str]
    output_dir: Path
    size: str = "small"
    resolution: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    init: Pretrained | None = None
    freeze_steps: int | None = None
    max_steps: int | None = None
    batch_size: int | None = None
    num_workers: int | None = None
    seed: int = 0
    mirror: bool = True
    celeba: bool = False
    limit: int | None = None
    sample_every: int = 250
    keep_every: int = 0
    checkpoint_minutes: float = 10.0
    resume: bool = False
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.init is not None:
            self._follow(self.init)
        elif self.freeze_steps is not None:
            raise UserError(
                "--freeze_steps is for a training that continues another; give --init as well"
            )
        self.resolution = 32 if self.resolution is None else self.resolution
        config = configure_model(self.name, self.resolution, self.size, self.changes)
        self.max_steps = config.steps if self.max_steps is None else self.max_steps
        self.batch_size = config.batch_size if self.batch_size is None else self.batch_size
        check_above(vars(self), "max_steps", "batch_size", "sample_every", "checkpoint_minutes")
        check_not_below(vars(self), "seed", "keep_every", "freeze_steps")
        precision_of(self.trainer)
        domains = find_model(self.name).domains
        if len(self.data_dirs) != domains:
            raise UserError(
                f"{self.name} is trained on {domains} set{'s'[: domains - 1]} of images; "
                f"{len(self.data_dirs)} given"
            )

    def _follow(self, pretrained: Pretrained) -> None:
        """Take the configuration of what the training goes on from; `changes` are made to it."""
        generator = pretrained.generator
        for what, own, given in (
            ("model", generator.model, self.name),
            ("resolution", generator.resolution, self.resolution),
        ):
            if given not in (own, None):
                raise UserError(f"init holds a generator of {what} {own}, not {given}")
        self.resolution = generator.resolution
        self.changes = {**asdict(generator.config), **self.changes}
        self.freeze_steps = (
            pretrained.freeze_steps if self.freeze_steps is None else self.freeze_steps
        )


def train_generator(settings: GanTraining, command: str = "", config: str = "") -> Path | None:
    """Train, keep checkpoints, and write the generator, its card and a picture; the generator.

    `command` goes into the card; `config`, text, into `<output_dir>/config.yaml`.
    Goes on from `<output_dir>/checkpoints/last.ckpt` when `resume` is set and there is one, to the
    same result as without an interruption; `max_steps` may be raised to train for longer.
    Returns None on all processes but the first. Raises UserError on settings that cannot work.
    """
    output, resume = settings.output_dir, resumed(settings)
    sources = [limit_images(open_source(folder), settings.limit) for folder in settings.data_dirs]
    labels, class_names = (
        labels_of(sources[0]) if find_model(settings.name).labelled else (None, [])
    )
    model = _model(settings, len(class_names))
    assert settings.max_steps is not None and settings.batch_size is not None
    assert settings.resolution is not None
    module = GenerativeModule(model, settings.max_steps, settings.batch_size, settings.seed)
    if settings.init is not None:
        module.fine_tuning = settings.init.load_into(module, settings.freeze_steps or 0)
    data = GanData(
        sources,
        settings.resolution,
        settings.batch_size * module.updates_per_step,
        settings.mirror,
        labels,
        settings.celeba,
        settings.num_workers,
        settings.seed,
    )
    data.check()
    deciding = _deciding(settings, model, data)
    described = {k: v for k, v in deciding.items() if k not in ("model", "config", "resolution")}
    card: Card = {
        "class_names": class_names,
        "training": {"command": command, "images": len(data), **described},
    }
    inputs = data.first(SHOWN) if model.translates else None
    samples = Samples(settings.sample_every, inputs, settings.keep_every, output / SNAPSHOTS, card)
    trainer = _trainer(settings, samples)
    Manifest.claim(output, deciding, "gan")
    if trainer.is_global_zero:
        if config:
            write_atomic(output / "config.yaml", config)
        _say(settings, model, data)
    with torch.random.fork_rng(devices=[]):  # each step seeds torch's own generators
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(last_checkpoint(output), weights_only=False)
    if not trainer.is_global_zero:
        return None
    return _finish(output, module.cpu(), card, inputs)


def _finish(output: Path, module: GenerativeModule, card: Card, inputs: ImageBatch | None) -> Path:
    """Write the generator, its card and a picture; the generator's file."""
    path = output / GENERATOR
    whole = save_generator(module.ema_generator, path, {**card, "step": module.global_step})
    load_generator(path)  # what was written can be read
    whole["sha256"] = file_hash(path)
    write_atomic(output / "card.json", json.dumps(whole, indent=2) + "\n")
    write_atomic(
        output / "sample.png", encode_picture(gallery(module.model, module.ema_generator, inputs))
    )
    return path


def _model(settings: GanTraining, classes: int) -> GenerativeModel:
    size, changes = settings.size, settings.changes
    assert settings.resolution is not None
    return build_model(settings.name, settings.resolution, size, settings.seed, classes, changes)


def _deciding(settings: GanTraining, model: GenerativeModel, data: GanData) -> dict[str, Any]:
    """What two trainings have in common that come to the same; goes into the card."""
    pretrained = settings.init
    init = (
        {}
        if pretrained is None
        else {"init": pretrained.describe(), "freeze_steps": settings.freeze_steps}
    )
    return {
        **init,
        "model": settings.name,
        "config": asdict(model.config),
        "resolution": settings.resolution,
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "mirror": settings.mirror,
        "celeba": settings.celeba,
        "data": [Path(folder).name for folder in settings.data_dirs],
        "data_sha256": data.digest(),
    }


def _trainer(settings: GanTraining, samples: Callback) -> pl.Trainer:
    options = lightning_options(settings, settings.max_steps, [samples])
    trainer = new_trainer(**options)
    if trainer.world_size > 1 and settings.trainer.get("strategy", "auto") in ("auto", "ddp"):
        # In each turn the other players' weights are without use.
        options["strategy"] = "ddp_find_unused_parameters_true"
        trainer = new_trainer(**options)
    return trainer


def _say(settings: GanTraining, model: GenerativeModel, data: GanData) -> None:
    generator = sum(p.numel() for p in model.generator.parameters())
    if settings.init is not None:
        _log.info(
            "going on from %d steps of a training, from %s; for %d steps the generator waits",
            settings.init.steps,
            "its generator" if settings.init.networks is None else "all its networks",
            settings.freeze_steps,
        )
    _log.info(
        "%d images to train on; %s %s at %d px, %d parameters, %d of them the generator's, "
        "%d steps of %d images",
        len(data),
        settings.name,
        settings.size if settings.init is None else "as it was",
        settings.resolution,
        sum(p.numel() for p in model.parameters()),
        generator,
        settings.max_steps,
        settings.batch_size,
    )
