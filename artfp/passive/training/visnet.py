"""Training of a VisNet: losses, Lightning module, and a whole training.

Everything random depends on the seed, the step and the process alone, so that a training that was
stopped goes on to the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from artfp.core.lightning import check_loss, new_trainer, resume_from, trainer_arguments
from artfp.core.run_folder import exclusive
from artfp.data.pixels import to_unit
from artfp.nn.adversarial_losses import gradient_penalty, interpolate_pairs
from artfp.nn.ema import ema_copy, update_ema
from artfp.nn.random_inputs import RandomInputs, derive_seed
from artfp.passive.networks.visnet import VisNet, VisNetCritic
from artfp.passive.settings import VisNetSettings
from artfp.passive.training.classifier import EMA_DECAY
from artfp.passive.training.labelled import (
    Batch,
    HeldOutValidation,
    LabelledData,
    LabelledImages,
    claim_training,
    run_training,
)


@dataclass(frozen=True)
class VisNetLosses:
    """Unweighted terms of the network's loss, with logits and reconstructions."""

    cross_entropy: Tensor
    reconstruction: Tensor
    adversarial: Tensor
    logits: Tensor
    reconstructed: Tensor

    def total(self, settings: VisNetSettings) -> Tensor:
        """Return the weighted sum."""
        return (
            self.cross_entropy
            + settings.reconstruction * self.reconstruction
            + settings.adversarial * self.adversarial
        )


def visnet_losses(network: VisNet, critic: VisNetCritic, x: Tensor, labels: Tensor) -> VisNetLosses:
    """Return the losses of a VisNet on images (N, 3, R, R) in [0, 1] of sources `labels` (N,).

    The reconstruction loss is the mean absolute difference of pixels in [-1, 1], the adversarial
    loss minus the critic's mean value of reconstructions.
    """
    images = network.rescale(x)
    reconstructed = network.reconstruct(images)
    logits = network.logits(images - reconstructed)
    return VisNetLosses(
        F.cross_entropy(logits, labels),
        (images - reconstructed).abs().mean(),
        -critic(reconstructed).float().mean(),
        logits,
        reconstructed,
    )


def critic_loss(
    critic: VisNetCritic, images: Tensor, reconstructed: Tensor, rng: RandomInputs, penalty: float
) -> Tensor:
    """Return the WGAN-GP loss of a critic (Gulrajani et al. 2017).

    `images` and `reconstructed` are (N, 3, R, R) in [-1, 1].
    """
    between: Tensor = interpolate_pairs(images, reconstructed, rng).requires_grad_(True)
    difference: Tensor = critic(reconstructed).float().mean() - critic(images).float().mean()
    return difference + penalty * gradient_penalty(critic(between), between)


class VisNetModule(HeldOutValidation):
    """VisNet in training; batches are 8-bit images with labels.

    `ema`, the moving average of its weights, is what is kept; the decay is smaller in the first
    steps. Each step is one of the network and one of the critic, on the same images.
    """

    ema: VisNet

    def __init__(self, network: VisNet, settings: VisNetSettings) -> None:
        super().__init__(network.sources)
        self.automatic_optimization = False
        self.network, self.settings = network, settings
        self.critic = VisNetCritic(network.resolution, network.width, network.size)
        for each in (self.network, self.critic):
            # Convolutions on CPUs are a tenth to a quarter faster in this layout.
            each.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ema_copy(network).train()  # Lightning warns of the other mode

    def configure_optimizers(self) -> Any:
        """Return Adam for the critic and for the network."""
        settings, fused = self.settings, self.device.type in ("cpu", "cuda")
        return [
            torch.optim.Adam(network.parameters(), settings.lr, settings.betas, fused=fused)
            for network in (self.critic, self.network)
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the network, then its critic."""
        pixels, labels = batch
        step = self.global_step
        with torch.autocast(self.device.type, enabled=False):
            x = self._mirror(to_unit(pixels), step)
            x = x.contiguous(memory_format=torch.channels_last)
        self.critic.requires_grad_(False)
        found = visnet_losses(self.network, self.critic, x, labels)
        total = found.total(self.settings)
        check_loss(self, total)
        self._update(1, total, counts=True)
        self.critic.requires_grad_(True)
        reconstructed = found.reconstructed.detach().float()
        rng = RandomInputs(self._generator(step, 1), len(x))
        images = self.network.rescale(x)
        critic = critic_loss(self.critic, images, reconstructed, rng, self.settings.penalty)
        check_loss(self, critic, "the loss of the critic")
        self._update(0, critic, counts=False)
        update_ema(self.ema, self.network, min(EMA_DECAY, (step + 1) / (step + 10.0)))
        self.log("train/loss", total.detach(), prog_bar=True)
        self.log("train/cross_entropy", found.cross_entropy.detach())
        self.log("train/reconstruction", found.reconstruction.detach())
        self.log("train/adversarial", found.adversarial.detach())
        self.log("train/critic", critic.detach())
        accuracy = (found.logits.argmax(1) == labels).float().mean()
        self.log("train/accuracy", accuracy, prog_bar=True)

    def _update(self, index: int, loss: Tensor, counts: bool) -> None:
        """Make a step of an optimiser; Lightning counts those of wrapped ones as steps."""
        optimizer = self.optimizers(use_pl_optimizer=counts)[index]  # type: ignore[index]
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimizer.step()

    def _mirror(self, x: Tensor, step: int) -> Tensor:
        """Mirror half of the images at random, if the settings ask for it."""
        if not self.settings.mirror:
            return x
        draws = torch.rand(len(x), 1, 1, 1, generator=self._generator(step, 0), device=x.device)
        return torch.where(draws < 0.5, x.flip(-1), x)

    def _generator(self, step: int, use: int) -> torch.Generator:
        seed = derive_seed(self.settings.seed, step, use, self.global_rank)
        return torch.Generator(self.device).manual_seed(seed)


_RUN = "visnet"

_SHOWN = 8
_SPREAD = 3.0

_log = logging.getLogger("artfp")


def visnet_card(settings: VisNetSettings) -> dict[str, Any]:
    """Return the settings that decide the result of a training, for the card."""
    names = ("reconstruction", "adversarial", "penalty", "lr", "mirror")
    more = ("size", "width", "batch_size", "seed", "precision")
    values = {name: getattr(settings, name) for name in (*names, *more)}
    return {**values, "betas": list(settings.betas)}


class TrainedVisNet(NamedTuple):
    """Averaged weights after `steps` steps, on the CPU, in evaluation mode.

    `stopped` says what stopped the training before its last step, if something did.
    """

    network: VisNet
    steps: int
    stopped: str | None = None


@exclusive
def train_visnet(
    settings: VisNetSettings,
    sources: Sequence[str],
    training: LabelledImages,
    held_out: LabelledImages,
) -> TrainedVisNet:
    """Train a VisNet on labelled images, validating it on others; keep checkpoints.

    With `resume` a training goes on from `<output_dir>/checkpoints/last.ckpt`, to the same result
    as without an interruption; `max_steps` may be raised.

    Args:
        settings: Width, optimisation, folder and device.
        sources: Names of the sources.
        training: Images to train on, squares.
        held_out: Images to validate on.

    Returns:
        The trained network.

    Raises:
        UserError: settings that cannot work, or another training in the folder.
    """
    resume = resume_from(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = VisNet(len(sources), training.pixels.shape[-1], settings.width, settings.size)
        module = VisNetModule(network, settings)
    firsts = [int((held_out.labels == k).nonzero()[0]) for k in held_out.labels.unique()]
    callbacks = [FingerprintCallback(held_out.pixels[firsts[:_SHOWN]])]
    steps, every = settings.max_steps, settings.validate_every
    options = trainer_arguments(settings, steps, callbacks, every)
    if options["devices"] == "auto":
        options["devices"] = 1
    trainer = new_trainer(**options)
    claim_training(settings.output_dir, _RUN, visnet_card(settings), sources, training)
    _log.info(
        "%d images to train on, %d held out; the %s VisNet at %d px, %d weights, %d steps of %d "
        "images",
        len(training),
        len(held_out),
        network.size,
        network.resolution,
        network.weights,
        steps,
        settings.batch_size,
    )
    data = LabelledData(training, held_out, settings.batch_size, settings.seed)
    stopped = run_training(trainer, module, data, resume)
    return TrainedVisNet(module.ema.cpu().eval(), module.global_step, stopped)


class FingerprintCallback(pl.Callback):
    """Fingerprints of sources and of a few images in TensorBoard, at each validation."""

    def __init__(self, pixels: Tensor) -> None:
        """Take a few 8-bit images (N, 3, R, R)."""
        self.pixels = pixels

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write them."""
        assert isinstance(pl_module, VisNetModule)
        board = getattr(trainer.logger, "experiment", None)
        if not trainer.is_global_zero or board is None or not hasattr(board, "add_image"):
            return
        network, step = pl_module.ema, trainer.global_step
        x = to_unit(self.pixels.to(pl_module.device))
        own = network.fingerprint(x).float()
        board.add_image("fingerprints/models", _grid(stretch_contrast(network.fingerprints)), step)
        rows = torch.cat([x, x - own / 2.0, stretch_contrast(own)])
        board.add_image("fingerprints/images", _grid(rows.clamp(0.0, 1.0), len(x)), step)


def stretch_contrast(fingerprints: Tensor) -> Tensor:
    """Centre each of (N, 3, R, R) at gray; three standard deviations reach black and white."""
    x = fingerprints.detach().float()
    x = x - x.mean((1, 2, 3), keepdim=True)
    spread = x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    return (0.5 + 0.5 * x / (_SPREAD * spread)).clamp(0.0, 1.0)


def _grid(images: Tensor, row: int = _SHOWN) -> Tensor:
    whole: Tensor = make_grid(images.cpu(), nrow=row, padding=2, pad_value=1.0)
    return whole
