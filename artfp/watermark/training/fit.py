"""A whole training: from settings to weights, a card and a sample picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from artfp.core.checkpoints import check_checkpoint, last_checkpoint, read_checkpoint
from artfp.core.device import TrainingDeviceSettings
from artfp.core.errors import UserError
from artfp.core.fitting import fit
from artfp.core.lightning import new_trainer, resume_from, trainer_arguments
from artfp.core.run_folder import exclusive
from artfp.data.bundle import Card, find_decoder, find_weights
from artfp.data.content import source_digest
from artfp.data.files import write_atomic
from artfp.data.paths import file_hash
from artfp.data.resume import Manifest
from artfp.data.sources import open_source
from artfp.data.train_module import TrainingData
from artfp.nn.autoencoder_weights import autoencoder_hashes, load_latent_autoencoder
from artfp.perturbations.latent import Latent
from artfp.reporting.image_grid import encode_picture
from artfp.watermark.measure import measure_images
from artfp.watermark.networks.realigning import with_realignment
from artfp.watermark.training.callbacks import (
    ImageGrids,
    Milestones,
    StallRecovery,
    fingerprinted_sample,
)
from artfp.watermark.training.module import FingerprintAutoencoder
from artfp.watermark.training.settings import TrainSettings
from artfp.watermark.weights import load_decoder, load_encoder, save_network

BEST_CHECKPOINT = "best.ckpt"

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes:
        encoder: File of the encoder.
        decoder: File of the decoder.
        measured: Mean figures on the validation images, see `artfp.watermark.measure`.
        reached: Step and seconds at which the bit accuracy first reached 0.99, or None.
        left_out: Names of images that could not be read.

    Example:
        >>> TrainingResult(Path("encoder"), Path("decoder"), {"psnr": 40.0}, None).measured
        {'psnr': 40.0}
    """

    encoder: Path
    decoder: Path
    measured: dict[str, float]
    reached: tuple[int, float] | None
    left_out: tuple[str, ...] = ()


@exclusive
def train(settings: TrainSettings, callbacks: Sequence[Callback] = ()) -> TrainingResult | None:
    """Train an encoder and a decoder on a folder of images.

    Writes into `settings.output_dir`: `encoder.safetensors` and `decoder.safetensors` of the best
    checkpoint, `card.json` (settings and measured figures), `config.yaml`, `sample.png`,
    `checkpoints/` and `tensorboard/`.

    Args:
        settings: Images, networks, schedule and folder of the training.
        callbacks: Further callbacks of Lightning's Trainer.

    Returns:
        The weights, and what was measured; None on all processes but the first.

    Raises:
        UserError: the settings cannot work, or the folder holds a training and
            `settings.resume` is False or images and settings are not those that it began with.

    Example:
        >>> settings = TrainSettings(data_dir="photos", output_dir=Path("run"), max_steps=2000)
        >>> result = train(settings)  # doctest: +SKIP
    """
    output, checkpoint = settings.output_dir, resume_from(settings)
    last = last_checkpoint(output)
    data = _data(settings)
    data.check()
    latent = None
    if settings.latent_autoencoder is not None:
        latent = Latent(load_latent_autoencoder(settings.latent_autoencoder))
    module = _module(settings, data, latent)
    trainer, milestones = _trainer(settings, module.total_steps, callbacks)
    Manifest.claim(output, _deciding(settings, data), "train", anew=checkpoint is None)
    # The published schedule trades accuracy for fidelity until its end: its last weights are meant.
    best = output / "checkpoints" / BEST_CHECKPOINT
    feedback = settings.recipe.schedule == "feedback"
    for path in () if checkpoint is None else (checkpoint, best):
        if path.is_file():
            check_checkpoint(path, module)  # before anything is written
    if trainer.is_global_zero:
        write_atomic(output / "config.yaml", settings.to_yaml())
        _log_sizes(settings, data, module)
    stopped = fit(trainer, module, data, checkpoint=checkpoint)
    trainer.save_checkpoint(last, weights_only=False)
    if not trainer.is_global_zero:
        return None
    state = read_checkpoint(best if feedback and best.is_file() else last)
    module.load_state_dict(state["state_dict"])
    return _finish(settings, module.cpu().eval(), data, milestones, stopped, latent)


def _deciding(settings: TrainSettings, data: TrainingData) -> dict[str, object]:
    """Return what must be equal for a training to go on; how long it takes may change."""
    changing = {"num_epochs", "max_steps", "validate_every", "checkpoint_minutes", "num_workers"}
    if settings.recipe.schedule == "published":
        changing.add("lr")  # Adam's rate, which is constant
    values = {k: v for k, v in _settings_of_card(settings).items() if k not in changing}
    if settings.init is not None:
        values["init"] = file_hash(find_weights(settings.init, "encoder"))
    return {**values, "data_sha256": source_digest(data.source)}


def _data(settings: TrainSettings) -> TrainingData:
    return TrainingData(
        open_source(settings.data_dir),
        settings.resolution,
        settings.geometry,
        settings.recipe.batch_size,
        settings.num_workers,
        settings.seed,
    )


def _module(
    settings: TrainSettings, data: TrainingData, latent: Latent | None
) -> FingerprintAutoencoder:
    recipe = settings.recipe
    started = {} if settings.init is None else {"headstart": 0.0}
    try:
        module = FingerprintAutoencoder(
            **started,
            architecture=settings.architecture,
            bits=settings.bits,
            resolution=settings.resolution,
            schedule=recipe.schedule,
            target_psnr=settings.target_psnr,
            total_steps=settings.total_steps(data.steps_per_epoch),
            lr=recipe.lr,
            perturb=recipe.schedule != "published",
            more_perturbations=() if latent is None else (latent,),
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
        _load_initial(module, settings, settings.init)
    return module


def _load_initial(module: FingerprintAutoencoder, settings: TrainSettings, weights: str) -> None:
    """Load trained weights in place of random ones.

    Raises UserError: they are of networks of another shape.
    """
    encoder, _ = load_encoder(weights)
    decoder, _ = load_decoder(find_decoder(weights), realign=False)
    wanted = (settings.architecture, settings.bits, settings.resolution)
    for network in (encoder, decoder):
        found = (network.architecture, network.bits, network.resolution)
        if found != wanted:
            raise UserError(
                f"--init {weights}: {found[0]}, {found[1]} bits at {found[2]} px; the training "
                f"is of {wanted[0]}, {wanted[1]} bits at {wanted[2]} px"
            )
    module.encoder.load_state_dict(encoder.state_dict())
    module.decoder.load_state_dict(decoder.state_dict())


def _trainer(
    settings: TrainSettings, steps: int, callbacks: Sequence[Callback]
) -> tuple[pl.Trainer, Milestones]:
    milestones = Milestones()
    own: list[Callback] = [
        ModelCheckpoint(
            settings.output_dir / "checkpoints",
            filename=BEST_CHECKPOINT.removesuffix(".ckpt"),
            monitor="val/score",
            mode="max",
            enable_version_counter=False,
        ),
        ImageGrids(),
        StallRecovery(act=settings.recipe.stall_recovery),
        milestones,
        *callbacks,
    ]
    options = trainer_arguments(settings, steps, own, settings.validate_every)
    return new_trainer(**options), milestones


def _log_sizes(settings: TrainSettings, data: TrainingData, module: FingerprintAutoencoder) -> None:
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
    settings: TrainSettings,
    module: FingerprintAutoencoder,
    data: TrainingData,
    milestones: Milestones,
    stopped: str | None,
    latent: Latent | None,
) -> TrainingResult:
    """Measure the networks on the validation images; write weights, card and picture."""
    output = settings.output_dir
    reached = None
    if milestones.step is not None and milestones.seconds is not None:
        reached = (milestones.step, round(milestones.seconds, 1))
    card: Card = {
        "training": {
            "command": settings.command_line("artfp train", names_only=True),
            "data": Path(settings.data_dir).name,
            "images": data.training_images,
            **_origin(settings.init),
            "settings": _settings_of_card(settings),
        },
    }
    if stopped is not None:
        card["training"]["stopped"] = stopped
    loader = data.val_dataloader()
    card["measured"] = measure_images(
        module.encoder, with_realignment(module.decoder), _images(loader), latent=latent
    )
    card["measured_on"] = f"{len(data.validation_indices)} validation images, never trained on"
    encoder, decoder = output / "encoder.safetensors", output / "decoder.safetensors"
    save_network(module.encoder, encoder, card)
    whole = save_network(module.decoder, decoder, card)
    load_encoder(encoder), load_decoder(decoder)  # check that the files are complete
    write_atomic(output / "card.json", json.dumps(whole, indent=2) + "\n")
    write_atomic(
        output / "sample.png", encode_picture(fingerprinted_sample(module, next(iter(loader))))
    )
    return TrainingResult(encoder, decoder, card["measured"], reached, tuple(data.left_out))


def _settings_of_card(settings: TrainSettings) -> Card:
    """Return the settings that decide the weights, with the defaults of the recipe filled in."""
    device = {field.name for field in fields(TrainingDeviceSettings)}
    left_out = device | {"data_dir", "output_dir", "resume", "latent_autoencoder"}
    own = {name: value for name, value in asdict(settings).items() if name not in left_out}
    if settings.latent_autoencoder is not None:
        own["latent_autoencoder"] = autoencoder_hashes(settings.latent_autoencoder)
    return {**own, **asdict(settings.recipe)}


def _origin(init: str | None) -> Card:
    """Return what the card holds of the weights that a training started with."""
    if init is None:
        return {}
    before = load_encoder(init)[1].get("training")
    return {"init": {"encoder": file_hash(find_weights(init, "encoder")), "training": before}}


def _images(loader: Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """Yield the images (R, R, 3) of batches (N, 3, R, R)."""
    for batch in loader:
        yield from batch.permute(0, 2, 3, 1).contiguous().numpy()
