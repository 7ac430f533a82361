"""The Lightning module that trains a VisNet, and its losses.

Everything random depends on the seed, the step and the process alone, so that a training that was
stopped goes on to the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

from artfp.core.errors import UserError
from artfp.core.lightning import (
    check_above,
    check_not_below,
    lightning_options,
    new_trainer,
    precision_of,
    resumed,
)
from artfp.data.pixels import to_unit
from artfp.nn.adversarial_losses import gradient_penalty, interpolate_pairs
from artfp.nn.ema import ema_copy, update_ema
from artfp.nn.random_inputs import RandomInputs, derive_seed
from artfp.passive.networks.visnet import VisNet, VisNetCritic
from artfp.passive.training.classifier import EMA_DECAY, Batch
from artfp.passive.training.labelled import (
    HeldOutValidation,
    LabelledData,
    LabelledImages,
    claim_training,
    run_training,
)


@dataclass(frozen=True)
class VisNetRecipe:
    """How a VisNet learns.

    `reconstruction` and `adversarial` are the published weights of the L1 loss and of the critic's
    beside the cross entropy; `penalty`, that of the critic's gradients (Gulrajani et al. 2017).
    `rate` of Adam for both networks, `betas` as for the published classifier.
    """

    reconstruction: float = 20.0
    adversarial: float = 0.1
    penalty: float = 10.0
    rate: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.99)
    mirror: bool = False


@dataclass(frozen=True)
class VisNetLosses:
    """The parts of the network's loss before they are weighted, and what they come from."""

    cross_entropy: Tensor
    reconstruction: Tensor
    adversarial: Tensor
    logits: Tensor
    reconstructed: Tensor

    def total(self, recipe: VisNetRecipe) -> Tensor:
        """The sum that the network lowers."""
        return (
            self.cross_entropy
            + recipe.reconstruction * self.reconstruction
            + recipe.adversarial * self.adversarial
        )


def visnet_losses(network: VisNet, critic: VisNetCritic, x: Tensor, labels: Tensor) -> VisNetLosses:
    """Losses of a VisNet on images (N, 3, R, R) in [0, 1] of sources `labels` (N,).

    The reconstruction's is the mean absolute difference of pixels in [-1, 1], the adversarial one
    minus the critic's mean value of reconstructions.
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
    critic: VisNetCritic, images: Tensor, reconstructed: Tensor, draws: RandomInputs, penalty: float
) -> Tensor:
    """The loss of a WGAN-GP critic on images and reconstructions, (N, 3, R, R) in [-1, 1] each."""
    at = interpolate_pairs(images, reconstructed, draws).requires_grad_(True)
    apart = critic(reconstructed).float().mean() - critic(images).float().mean()
    return apart + penalty * gradient_penalty(critic(at), at)


class VisNetModule(HeldOutValidation):
    """A VisNet in training; batches are 8-bit images with labels.

    `average` is the running mean of its weights, which is what is kept; the mean follows faster at
    the start. Each step is one of the network and one of the critic, on the same images.
    """

    average: VisNet

    def __init__(self, network: VisNet, recipe: VisNetRecipe, seed: int = 0) -> None:
        super().__init__(network.sources)
        self.automatic_optimization = False
        self.network, self.recipe, self.seed = network, recipe, seed
        self.critic = VisNetCritic(network.resolution, network.width)
        for each in (self.network, self.critic):
            # Convolutions on CPUs are a tenth to a quarter faster in this layout.
            each.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = ema_copy(network).train()  # Lightning warns of the other mode

    def configure_optimizers(self) -> Any:
        """Adam for the critic and for the network."""
        recipe, fused = self.recipe, self.device.type in ("cpu", "cuda")
        return [
            torch.optim.Adam(network.parameters(), recipe.rate, recipe.betas, fused=fused)
            for network in (self.critic, self.network)
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the network and one of its critic."""
        pixels, labels = batch
        step = self.global_step
        with torch.autocast(self.device.type, enabled=False):
            x = self._varied(to_unit(pixels), step)
            x = x.contiguous(memory_format=torch.channels_last)
        self.critic.requires_grad_(False)
        found = visnet_losses(self.network, self.critic, x, labels)
        total = found.total(self.recipe)
        look = self.device.type == "cpu" or step % 50 == 0  # it makes a GPU wait
        if look and not torch.isfinite(total):
            raise UserError(
                f"step {step}: the loss is {float(total.detach())}; take a lower --rate"
            )
        self._lower(1, total, counts=True)
        self.critic.requires_grad_(True)
        reconstructed = found.reconstructed.detach().float()
        draws = RandomInputs(self._generator(step, 1), len(x))
        images = self.network.rescale(x)
        critic = critic_loss(self.critic, images, reconstructed, draws, self.recipe.penalty)
        self._lower(0, critic, counts=False)
        update_ema(self.average, self.network, min(EMA_DECAY, (step + 1) / (step + 10.0)))
        self.log("train/loss", total.detach(), prog_bar=True)
        self.log("train/cross_entropy", found.cross_entropy.detach())
        self.log("train/reconstruction", found.reconstruction.detach())
        self.log("train/adversarial", found.adversarial.detach())
        self.log("train/critic", critic.detach())
        accuracy = (found.logits.argmax(1) == labels).float().mean()
        self.log("train/accuracy", accuracy, prog_bar=True)

    def _lower(self, index: int, loss: Tensor, counts: bool) -> None:
        """A step of an optimiser; Lightning counts those of wrapped ones as steps."""
        optimizer = self.optimizers(use_pl_optimizer=counts)[index]  # type: ignore[index]
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimizer.step()

    def _varied(self, x: Tensor, step: int) -> Tensor:
        """Half of the images mirrored, if the recipe wants it."""
        if not self.recipe.mirror:
            return x
        turned = torch.rand(len(x), 1, 1, 1, generator=self._generator(step, 0), device=x.device)
        return torch.where(turned < 0.5, x.flip(-1), x)

    def _generator(self, step: int, use: int) -> torch.Generator:
        seed = derive_seed(self.seed, step, use, self.global_rank)
        return torch.Generator(self.device).manual_seed(seed)


RUN = "visnet"

_SHOWN = 8
_SPREAD = 3.0

_log = logging.getLogger("artfp")


@dataclass
class VisNetTraining:
    """What decides a training; see `artfp attribute visnet --help` for each.

    `trainer` holds further arguments of Lightning's Trainer. Raises UserError: a number that cannot
    be.
    """

    output_dir: Path
    recipe: VisNetRecipe = field(default_factory=VisNetRecipe)
    width: int = 16
    max_steps: int = 1500
    batch_size: int = 32
    seed: int = 0
    look_every: int = 250
    checkpoint_minutes: float = 10.0
    resume: bool = False
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = {**asdict(self.recipe), **vars(self)}
        above = ("width", "max_steps", "batch_size", "rate", "look_every", "checkpoint_minutes")
        check_above(whole, *above)
        check_not_below(whole, "seed")
        precision_of(self.trainer)

    def told(self) -> dict[str, Any]:
        """What two trainings have in common that come to the same, for the card."""
        recipe = asdict(self.recipe)
        return {
            **recipe,
            "betas": list(self.recipe.betas),
            "width": self.width,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "precision": precision_of(self.trainer),
        }


def train_visnet(
    settings: VisNetTraining,
    sources: Sequence[str],
    training: LabelledImages,
    held_out: LabelledImages,
) -> tuple[VisNet, int]:
    """The mean of a VisNet's weights, on the CPU in evaluation mode, and the steps it has made.

    It is trained on some images of each source, looking at others, and goes on from
    `<output_dir>/checkpoints/last.ckpt` when `resume` is set and there is one, to the same result
    as without an interruption; `max_steps` may be raised. Raises UserError: settings that cannot
    work, or a training of something else in the folder.
    """
    resume = resumed(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = VisNet(len(sources), training.pixels.shape[-1], settings.width)
        module = VisNetModule(network, settings.recipe, settings.seed)
    trainer = _trainer(settings, held_out)
    claim_training(settings.output_dir, RUN, settings.told(), sources, training)
    _log.info(
        "%d images to train on, %d held out; a VisNet at %d px, %d parameters, %d steps of %d "
        "images",
        len(training),
        len(held_out),
        network.resolution,
        sum(p.numel() for p in network.parameters()),
        settings.max_steps,
        settings.batch_size,
    )
    data = LabelledData(training, held_out, settings.batch_size, settings.seed)
    run_training(trainer, module, data, resume)
    return module.average.cpu().eval(), module.global_step


class FingerprintPictures(pl.Callback):
    """Shows in TensorBoard at each look the models' fingerprints, and images with theirs."""

    def __init__(self, pixels: Tensor) -> None:
        """Take a few 8-bit images (N, 3, R, R)."""
        self.pixels = pixels

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw them."""
        assert isinstance(pl_module, VisNetModule)
        board = getattr(trainer.logger, "experiment", None)
        if not trainer.is_global_zero or board is None or not hasattr(board, "add_image"):
            return
        network, step = pl_module.average, trainer.global_step
        x = to_unit(self.pixels.to(pl_module.device))
        own = network.fingerprint(x).float()
        board.add_image("fingerprints/models", _grid(stretch_contrast(network.fingerprints)), step)
        rows = torch.cat([x, x - own / 2.0, stretch_contrast(own)])
        board.add_image("fingerprints/images", _grid(rows.clamp(0.0, 1.0), len(x)), step)


def stretch_contrast(fingerprints: Tensor) -> Tensor:
    """Each of (N, 3, R, R) about gray, so that three standard deviations reach black and white."""
    x = fingerprints.detach().float()
    x = x - x.mean((1, 2, 3), keepdim=True)
    spread = x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    return (0.5 + 0.5 * x / (_SPREAD * spread)).clamp(0.0, 1.0)


def _grid(images: Tensor, row: int = _SHOWN) -> Tensor:
    whole: Tensor = make_grid(images.cpu(), nrow=row, padding=2, pad_value=1.0)
    return whole


def _trainer(settings: VisNetTraining, held_out: LabelledImages) -> pl.Trainer:
    firsts = [int((held_out.labels == k).nonzero()[0]) for k in held_out.labels.unique()]
    pictures = FingerprintPictures(held_out.pixels[firsts[:_SHOWN]])
    options = lightning_options(settings, settings.max_steps, [pictures], settings.look_every)
    return new_trainer(**{"devices": 1, **options})
