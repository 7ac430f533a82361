"""One whole training: from settings to bundles, a card and a picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint

from artfp.core.errors import UserError
from artfp.core.lightning import (
    check_above,
    check_not_below,
    last_checkpoint,
    lightning_options,
    new_trainer,
    resumed,
)
from artfp.data.bundle import Card, find_decoder, find_weights
from artfp.data.files import file_hash, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.sources import open_source
from artfp.data.train_module import TrainingData
from artfp.reporting.image_grid import encode_picture
from artfp.watermark import load_decoder, load_encoder, save_network
from artfp.watermark.measure import measure_images
from artfp.watermark.networks.realigning import with_realignment
from artfp.watermark.training.callbacks import (
    ImageGrids,
    Milestones,
    StallRecovery,
    fingerprinted_sample,
)
from artfp.watermark.training.module import FingerprintAutoencoder

BEST = "best.ckpt"

_log = logging.getLogger("artfp")


@dataclass
class Training:
    """What decides a training; see `train.py --help` for each.

    `trainer` holds further arguments of Lightning's Trainer (devices, strategy, precision, ...).
    """

    data_dir: str
    output_dir: Path
    architecture: str = "residual"
    schedule: str | None = None
    init: str | None = None
    transplant: float = 0.0
    bits: int = 100
    resolution: int = 128
    geometry: Geometry = field(default_factory=Geometry)
    target_psnr: float = 40.0
    batch_size: int | None = None
    num_workers: int | None = None
    num_epochs: int | None = None
    max_steps: int | None = None
    lr: float | None = None
    l2_loss_await: int = 1000
    l2_loss_weight: float = 10.0
    l2_loss_ramp: int = 3000
    bce_loss_weight: float = 1.0
    seed: int = 0
    validate_every: int = 500
    checkpoint_minutes: float = 10.0
    guard: bool | None = None
    resume: bool = False
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in what depends on the architecture; refuse numbers that cannot work."""
        if self.schedule is None:
            self.schedule = "published" if self.architecture == "stegastamp" else "feedback"
        published = self.schedule == "published"
        if self.lr is None:
            self.lr = 1e-4 if published else 2e-3
        if self.batch_size is None:
            self.batch_size = 64 if published else 32
        if self.guard is None:
            self.guard = not published
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Raises UserError: a number that is not finite or too small."""
        above = ("lr", "batch_size", "num_epochs", "max_steps", "validate_every")
        check_above(vars(self), *above, "checkpoint_minutes", "target_psnr")
        if not 0.0 <= self.transplant < 1.0:
            raise UserError(f"transplant is {self.transplant}; it is a share from 0 to below 1")
        if self.transplant and self.schedule == "published":
            raise UserError("transplant is no part of the published recipe")
        weights = ("l2_loss_await", "l2_loss_weight", "l2_loss_ramp", "bce_loss_weight")
        check_not_below(vars(self), *weights, "seed", "num_workers")

    def steps(self, per_epoch: int) -> int:
        """Steps of the whole training: `max_steps`, or the epochs, 20 as published, or 4,000."""
        if self.max_steps is not None:
            return self.max_steps
        if self.num_epochs is not None or self.schedule == "published":
            return per_epoch * (self.num_epochs or 20)
        return 4000


@dataclass(frozen=True)
class Result:
    """What a training left behind. `reached`: (step, seconds) of bit accuracy 0.99, or None."""

    encoder: Path
    decoder: Path
    measured: dict[str, float]
    reached: tuple[int, float] | None


def train(settings: Training, command: str = "", config: str = "") -> Result | None:
    """Train, keep checkpoints, measure the best one, write bundles, card and picture.

    `command` goes into the card; `config`, text, into `<output_dir>/config.yaml`, once the
    settings have proved to work.
    Goes on from `<output_dir>/checkpoints/last.ckpt` when `resume` is set and there is one.
    Returns None on all processes but the first. Raises UserError on settings that cannot work.
    """
    output, resume = settings.output_dir, resumed(settings)
    last = last_checkpoint(output)
    data = _data(settings)
    data.check()
    module = _module(settings, data)
    trainer, milestones = _trainer(settings, module.total_steps)
    if trainer.is_global_zero:
        if config:
            write_atomic(output / "config.yaml", config)
        _say_hyperparameters(settings, data, module)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(last, weights_only=False)
    if not trainer.is_global_zero:
        return None
    # The published schedule trades accuracy for looks until its end: its last weights are meant.
    best = output / "checkpoints" / BEST
    chosen = best if settings.schedule == "feedback" and best.is_file() else last
    state = torch.load(chosen, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return _finish(settings, module.cpu().eval(), data, milestones, command)


def _data(settings: Training) -> TrainingData:
    source = open_source(settings.data_dir)
    assert settings.batch_size is not None
    return TrainingData(
        source,
        settings.resolution,
        settings.geometry,
        settings.batch_size,
        settings.num_workers,
        settings.seed,
    )


def _module(settings: Training, data: TrainingData) -> FingerprintAutoencoder:
    assert settings.schedule is not None and settings.lr is not None
    begun = {} if settings.init is None else {"headstart": 0.0}
    try:
        module = FingerprintAutoencoder(
            **begun,
            architecture=settings.architecture,
            bits=settings.bits,
            resolution=settings.resolution,
            schedule=settings.schedule,
            target_psnr=settings.target_psnr,
            total_steps=settings.steps(data.steps_per_epoch),
            lr=settings.lr,
            perturb=settings.schedule != "published",
            transplanted=settings.transplant,
            l2_loss_weight=settings.l2_loss_weight,
            l2_loss_await=settings.l2_loss_await,
            l2_loss_ramp=settings.l2_loss_ramp,
            bce_loss_weight=settings.bce_loss_weight,
            seed=settings.seed,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if settings.init is not None:
        _begin_with(module, settings, settings.init)
    return module


def _begin_with(module: FingerprintAutoencoder, settings: Training, weights: str) -> None:
    """Put trained weights in the place of the initial ones.

    Raises UserError: they are of other networks than those that are to be trained.
    """
    encoder, _ = load_encoder(weights)
    decoder, _ = load_decoder(find_decoder(weights), realign=False)
    wanted = (settings.architecture, settings.bits, settings.resolution)
    for network in (encoder, decoder):
        found = (network.architecture, network.bits, network.resolution)
        if found != wanted:
            raise UserError(
                f"init {weights}: {found[0]}, {found[1]} bits at {found[2]} px; the training is of "
                f"{wanted[0]}, {wanted[1]} bits at {wanted[2]} px"
            )
    module.encoder.load_state_dict(encoder.state_dict())
    module.decoder.load_state_dict(decoder.state_dict())


def _trainer(settings: Training, steps: int) -> tuple[pl.Trainer, Milestones]:
    milestones = Milestones()
    callbacks: list[Callback] = [
        ModelCheckpoint(
            settings.output_dir / "checkpoints",
            filename=BEST.removesuffix(".ckpt"),
            monitor="val/score",
            mode="max",
            enable_version_counter=False,
        ),
        LearningRateMonitor("step"),
        ImageGrids(),
        StallRecovery(act=bool(settings.guard)),
        milestones,
    ]
    options = lightning_options(settings, steps, callbacks, settings.validate_every)
    return new_trainer(**options), milestones


def _say_hyperparameters(
    settings: Training, data: TrainingData, module: FingerprintAutoencoder
) -> None:
    parameters = sum(p.numel() for p in module.encoder.parameters())
    _log.info(
        "%d images to train on, %d to validate; %s, %d bits at %d px, encoder of %d parameters, "
        "%d steps of %d images",
        len(data.training_indices),
        len(data.validation_indices),
        settings.architecture,
        settings.bits,
        settings.resolution,
        parameters,
        module.total_steps,
        data.batch_size,
    )


def _finish(
    settings: Training,
    module: FingerprintAutoencoder,
    data: TrainingData,
    milestones: Milestones,
    command: str,
) -> Result:
    """Write bundles, card and picture; measure what was written on the validation images."""
    output = settings.output_dir
    reached = None
    if milestones.step is not None and milestones.seconds is not None:
        reached = (milestones.step, round(milestones.seconds, 1))
    card: Card = {
        "training": {
            "command": command,
            "data": Path(settings.data_dir).name,
            "images": len(data.training_indices),
            **_origin(settings.init),
            "settings": {
                key: value
                for key, value in asdict(settings).items()
                if key not in ("data_dir", "output_dir", "trainer", "resume")
            },
        },
    }
    loader = data.val_dataloader()
    card["measured"] = measure_images(
        module.encoder, with_realignment(module.decoder), _images(loader)
    )
    card["measured_on"] = f"{len(data.validation_indices)} validation images, never trained on"
    encoder, decoder = output / "encoder.safetensors", output / "decoder.safetensors"
    save_network(module.encoder, encoder, card)
    whole = save_network(module.decoder, decoder, card)
    load_encoder(encoder), load_decoder(decoder)  # what was written can be read
    write_atomic(output / "card.json", json.dumps(whole, indent=2) + "\n")
    write_atomic(
        output / "sample.png", encode_picture(fingerprinted_sample(module, next(iter(loader))))
    )
    return Result(encoder, decoder, card["measured"], reached)


def _origin(init: str | None) -> Card:
    """What the card says of the weights that a training began with."""
    if init is None:
        return {}
    before = load_encoder(init)[1].get("training")
    return {"init": {"encoder": file_hash(find_weights(init, "encoder")), "training": before}}


def _images(loader: Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """The images (R, R, 3) of batches (N, 3, R, R), one by one."""
    for batch in loader:
        yield from batch.permute(0, 2, 3, 1).contiguous().numpy()
