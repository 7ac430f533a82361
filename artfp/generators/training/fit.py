"""Training of a generative model, from settings to a generator, its card and a picture."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from artfp.core.checkpoints import last_checkpoint
from artfp.core.errors import UserError
from artfp.core.fitting import fit
from artfp.core.lightning import new_trainer, precision_of, resume_from, trainer_arguments
from artfp.core.run_folder import exclusive
from artfp.data.bundle import Card
from artfp.data.files import write_atomic
from artfp.data.paths import file_hash
from artfp.data.resume import Manifest
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.generators.base import GenerativeModel, ModelConfig
from artfp.generators.registry import build_model, configure_model, find_model
from artfp.generators.settings import GeneratorTrainingSettings, TrainGeneratorSettings
from artfp.generators.trained_network import DataBatch
from artfp.generators.training.callbacks import PICTURE_IMAGES, SampleCallback, sample_grid
from artfp.generators.training.data import GenerativeData, labels_of
from artfp.generators.training.module import GenerativeModule
from artfp.generators.training.pretrained import GENERATOR, Pretrained, load_pretrained
from artfp.generators.weights import load_generator, save_generator
from artfp.reporting.image_grid import encode_picture

SNAPSHOTS = "snapshots"

_RESOLUTION = 32

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class TrainedGenerator:
    """Result of a training.

    Args:
        path: File of the generator.
        card: Its card, with the SHA-256 of the file.
        left_out: Names of images that could not be read.
    """

    path: Path
    card: Card
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a training with all numbers that these leave to the model.

    Args:
        settings: What the user gave.
        config: Configuration of the model.
        resolution: Side of the images in pixels.
        max_steps: Training steps.
        batch_size: Images in an update and process.
        freeze_steps: First steps in which the generator is frozen.
        pretrained: Trained generator that the training continues, if any.
    """

    settings: GeneratorTrainingSettings
    config: ModelConfig
    resolution: int
    max_steps: int
    batch_size: int
    freeze_steps: int = 0
    pretrained: Pretrained | None = None

    def build(self, classes: int) -> GenerativeModel:
        """Build the untrained model."""
        settings, changes = self.settings, asdict(self.config)
        return build_model(
            settings.model, self.resolution, settings.size, settings.seed, classes, changes
        )


def plan_training(settings: GeneratorTrainingSettings) -> TrainingPlan:
    """Return the plan of a training.

    Raises UserError: there is no such model or number, or --init is of another model.
    """
    pretrained, changes, resolution = None, settings.config_changes(), settings.resolution
    freeze_steps = 0
    if isinstance(settings, TrainGeneratorSettings) and settings.init is not None:
        pretrained = load_pretrained(settings.init)
        generator = pretrained.generator
        for what, own, given in (
            ("model", generator.model, settings.model),
            ("resolution", generator.resolution, resolution),
        ):
            if given not in (own, None):
                raise UserError(f"--init holds a generator of {what} {own}, not {given}")
        resolution = generator.resolution
        changes = {**asdict(generator.config), **changes}
        asked = settings.freeze_steps
        freeze_steps = pretrained.freeze_steps if asked is None else asked
    resolution = _RESOLUTION if resolution is None else resolution
    config = configure_model(settings.model, resolution, settings.size, changes)
    precision_of({"precision": settings.precision})
    domains = find_model(settings.model).domains
    if len(settings.data_dirs) != domains:
        raise UserError(
            f"{settings.model} is trained on {domains} set{'s'[: domains - 1]} of images; "
            f"{len(settings.data_dirs)} given"
        )
    return TrainingPlan(
        settings,
        config,
        resolution,
        max_steps=settings.max_steps or config.steps,
        batch_size=settings.batch_size or config.batch_size,
        freeze_steps=freeze_steps,
        pretrained=pretrained,
    )


@exclusive
def train_generator(settings: GeneratorTrainingSettings) -> TrainedGenerator | None:
    """Train a generative model.

    Writes into `settings.output_dir`: generator.safetensors, card.json, sample.png, config.yaml,
    checkpoints/, snapshots/ and tensorboard/. With `settings.resume` it continues from the last
    checkpoint, to the same result as without an interruption; `max_steps` may be raised.

    Args:
        settings: Model, images, length and device.

    Returns:
        The trained generator; None on all processes but the first.

    Raises:
        UserError: settings that cannot work, or images that cannot be read.
        KeyboardInterrupt: the training was interrupted; its last checkpoint is there.

    Example:
        >>> settings = TrainGeneratorSettings(model="dcgan", data_dir="photos", output_dir="run")
        >>> train_generator(settings)  # doctest: +SKIP
    """
    plan, resume = plan_training(settings), resume_from(settings)
    output = settings.output_dir
    sources = [limit_images(open_source(folder), settings.limit) for folder in settings.data_dirs]
    labelled = find_model(settings.model).labelled
    labels, class_names = labels_of(sources[0]) if labelled else (None, [])
    model = plan.build(len(class_names))
    module = GenerativeModule(model, plan.max_steps, plan.batch_size, settings.seed)
    if plan.pretrained is not None:
        module.fine_tuning = plan.pretrained.load_into(module, plan.freeze_steps)
    data = GenerativeData(
        sources,
        plan.resolution,
        plan.batch_size * module.updates_per_step,
        settings.mirror,
        labels,
        settings.use_celeba_preprocessing,
        settings.num_workers,
        settings.seed,
    )
    data.check()
    inputs = _deciding_inputs(plan, data)
    described = {k: v for k, v in inputs.items() if k not in ("model", "config", "resolution")}
    command = settings.command_line("artfp gan train", names_only=True)
    card: Card = {
        "class_names": class_names,
        "training": {"command": command, "images": len(data), **described},
    }
    shown = data.first(PICTURE_IMAGES) if model.translates else None
    samples = SampleCallback(
        settings.sample_every, shown, settings.keep_every, output / SNAPSHOTS, card
    )
    trainer = _make_trainer(settings, plan.max_steps, samples)
    Manifest.claim(output, inputs, "gan")
    if trainer.is_global_zero:
        write_atomic(output / "config.yaml", settings.to_yaml())
        _log_start(plan, model, data)
    with torch.random.fork_rng(devices=[]):  # each step seeds torch's own generators
        stopped = fit(trainer, module, data, checkpoint=resume)
    trainer.save_checkpoint(last_checkpoint(output), weights_only=False)
    if not trainer.is_global_zero:
        return None
    if stopped is not None:
        card["training"]["stopped"] = stopped
    card["training"]["images"] = len(data)
    trained = _write_results(output, module.cpu(), card, shown)
    return replace(trained, left_out=tuple(data.left_out))


def _write_results(
    output: Path, module: GenerativeModule, card: Card, shown: DataBatch | None
) -> TrainedGenerator:
    """Write the generator, its card and a picture."""
    path = output / GENERATOR
    whole = save_generator(module.ema_generator, path, {**card, "step": module.global_step})
    load_generator(path)  # check that it can be read
    whole["sha256"] = file_hash(path)
    write_atomic(output / "card.json", json.dumps(whole, indent=2) + "\n")
    picture = sample_grid(module.model, module.ema_generator, shown)
    write_atomic(output / "sample.png", encode_picture(picture))
    return TrainedGenerator(path, whole)


def _deciding_inputs(plan: TrainingPlan, data: GenerativeData) -> dict[str, Any]:
    """Inputs that decide the result of a training; they go into the card."""
    settings, init = plan.settings, {}
    if plan.pretrained is not None:
        init = {"init": plan.pretrained.describe(), "freeze_steps": plan.freeze_steps}
    return {
        **init,
        "model": settings.model,
        "config": asdict(plan.config),
        "resolution": plan.resolution,
        "seed": settings.seed,
        "batch_size": plan.batch_size,
        "mirror": settings.mirror,
        "celeba": settings.use_celeba_preprocessing,
        "data": [Path(folder).name for folder in settings.data_dirs],
        "data_sha256": data.digest(),
    }


def _make_trainer(
    settings: GeneratorTrainingSettings, max_steps: int, samples: Callback
) -> pl.Trainer:
    arguments = trainer_arguments(settings, max_steps, [samples])
    trainer = new_trainer(**arguments)
    if trainer.world_size > 1 and settings.strategy in ("auto", "ddp"):
        # In each update the weights of the other networks are unused.
        arguments["strategy"] = "ddp_find_unused_parameters_true"
        trainer = new_trainer(**arguments)
    return trainer


def _log_start(plan: TrainingPlan, model: GenerativeModel, data: GenerativeData) -> None:
    pretrained = plan.pretrained
    if pretrained is not None:
        _log.info(
            "continuing a training of %d steps with %s; the generator is frozen for %d steps",
            pretrained.steps,
            "its generator" if pretrained.networks is None else "all its networks",
            plan.freeze_steps,
        )
    _log.info(
        "%d images to train on; %s %s at %d px, %d parameters, %d of them the generator's, "
        "%d steps of %d images",
        len(data),
        plan.settings.model,
        plan.settings.size if pretrained is None else "as it was",
        plan.resolution,
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.generator.parameters()),
        plan.max_steps,
        plan.batch_size,
    )
