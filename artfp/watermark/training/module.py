"""The Lightning module that trains an encoder and a decoder together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.fitting import time_fraction
from artfp.core.lightning import check_loss
from artfp.data.pixels import to_8bit, to_unit
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.image_visibility import PIXELS_PER_DEGREE
from artfp.metrics.scielab import visibility
from artfp.perturbations import Jpeg, Mirror, Noise, Perturbation, ResizeBack, training_mixture
from artfp.watermark import build_pair
from artfp.watermark.networks.residual import ResidualEncoder
from artfp.watermark.training.schedules import FeedbackSchedule, PublishedSchedule, Schedule
from artfp.watermark.training.transplant import make_transplants, share_within_groups

WARMUP_STEPS = 20
"""Steps in which the learning rate rises to its peak."""

FINAL_LR = 0.01
"""Learning rate at the end of `feedback`, as a fraction of its peak."""

HEADSTART = 10.0
"""Difference in dB between the target PSNR and that at the start, with `feedback`."""

TOLERANCE = 0.5
"""Decibels by which the mean PSNR of a validation may miss the target without a lower score."""

COLOUR_WEIGHT = 0.05
"""Weight, with `feedback`, of the residual's fraction of energy in colour. Photographs have
little energy there, so bits cost least there too, but on gray photographs colour is visible."""

VALIDATION_CONDITIONS: tuple[tuple[str, Perturbation, float], ...] = (
    ("jpeg90", Jpeg(), 90.0),
    ("jpeg50", Jpeg(), 50.0),
    ("mirror", Mirror(), 1.0),
    ("noise0.05", Noise(), 0.05),
    ("resize50", ResizeBack(), 0.5),
)
"""Perturbations of the validation: name, perturbation, strength."""


def colour_fraction(residual: Tensor) -> Tensor:
    """Return the fraction of the energy of residuals (N, 3, H, W) that differs between colours."""
    gray = residual.mean(dim=1, keepdim=True)
    return (residual - gray).square().sum() / residual.square().sum().clamp_min(1e-12)


class FingerprintAutoencoder(pl.LightningModule):
    """Encoder and decoder in training; batches are 8-bit images (N, 3, R, R).

    Args:
        architecture: Name of the architecture.
        bits: Number of bits of the message.
        resolution: Pixels a side of the images.
        schedule: `feedback` (needs an adjustable encoder) or `published`.
        target_psnr: Mean PSNR in dB at the end of `feedback`.
        headstart: Decibels below it at the start.
        total_steps: Steps of the training; the learning rate of `feedback` ends there.
        lr: Learning rate at its peak.
        perturb: True to train the decoder on perturbed images.
        more_perturbations: Perturbations beside those of `training_mixture`.
        transplanted: Fraction of the images that are transplants, see
            `artfp.watermark.training.transplant`.
        l2_loss_weight: Final weight of the image loss of `published`.
        l2_loss_await: Steps before that loss begins.
        l2_loss_ramp: Steps in which its weight rises.
        bce_loss_weight: Weight of the cross-entropy of the bits.
        seed: Seed of the initial weights and of all draws.

    Raises:
        UserError: the schedule does not fit the architecture.
    """

    def __init__(
        self,
        architecture: str = "residual",
        bits: int = 100,
        resolution: int = 128,
        schedule: str = "feedback",
        target_psnr: float = 40.0,
        headstart: float = HEADSTART,
        total_steps: int = 4000,
        lr: float = 2e-3,
        perturb: bool = True,
        more_perturbations: Sequence[Perturbation] = (),
        transplanted: float = 0.0,
        l2_loss_weight: float = 10.0,
        l2_loss_await: int = 1000,
        l2_loss_ramp: int = 3000,
        bce_loss_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["more_perturbations"])  # they may hold networks
        self.held_batch: Tensor | None = None
        self.validated: list[Tensor] = []
        self.validated_images = 0
        self.seed, self.bits, self.lr, self.total_steps = seed, bits, lr, total_steps
        self.time_gone: float | None = None
        self.bce_loss_weight, self.transplanted = bce_loss_weight, transplanted
        self.encoder, self.decoder = build_pair(architecture, bits, resolution, seed)
        self.schedule: Schedule
        if schedule == "feedback":
            if not self.encoder.adjustable:
                raise UserError(
                    f"schedule feedback needs an encoder with an adjustable strength, which "
                    f"{architecture} does not have; take --schedule published"
                )
            start = target_psnr - headstart
            self.schedule = FeedbackSchedule(start, target_psnr, total_steps)
            if isinstance(self.encoder, ResidualEncoder):  # the schedule sets its strength
                self.encoder.log_strength.requires_grad_(False)
        elif schedule == "published":
            self.schedule = PublishedSchedule(l2_loss_weight, l2_loss_await, l2_loss_ramp)
        else:
            raise UserError(f"unknown schedule {schedule!r}; take feedback or published")
        self.target_psnr = target_psnr if schedule == "feedback" else 0.0
        self.colour_weight = COLOUR_WEIGHT if schedule == "feedback" else 0.0
        mixture = training_mixture(resolution, more=more_perturbations)
        self.mixture = mixture if perturb else None

    def restart(self, seed: int) -> None:
        """Draw the weights anew from another seed and forget the optimiser's state."""
        hp = self.hparams
        encoder, decoder = build_pair(hp["architecture"], hp["bits"], hp["resolution"], seed)
        self.encoder.load_state_dict(encoder.state_dict())
        self.decoder.load_state_dict(decoder.state_dict())
        self.schedule.restart()
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        optimizer.state.clear()

    def step_rng(self, step: int) -> torch.Generator:
        """Return the generator of one step of this process; a resumed run draws the same."""
        seed = (self.seed * 1_000_003 + step) * 1009 + self.global_rank
        return torch.Generator().manual_seed(seed % 2**63)

    def configure_optimizers(self) -> Any:
        """Return AdamW with warm-up and cosine decay, or Adam at a constant rate as published."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        if isinstance(self.schedule, PublishedSchedule):
            return torch.optim.Adam(parameters, lr=self.lr)
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, betas=(0.9, 0.99), weight_decay=0.0)
        warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=WARMUP_STEPS)
        rest = max(1, self.total_steps - WARMUP_STEPS)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rest, self.lr * FINAL_LR)
        both = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, decay], [WARMUP_STEPS])
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": both, "interval": "step"},
        }

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the learning rate of the step."""
        self.log("train/lr", optimizer.param_groups[0]["lr"])

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Note how much of the training's time is gone, where that is limited."""
        self.time_gone = time_fraction(self.trainer)
        if self.time_gone is not None:
            self.schedule.follow_time(self.time_gone)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Step; at the learning rate of the time that is gone, where that is below the step's.

        The scheduler computes each rate from the one before, so it finds its own again.
        """
        groups = optimizer.param_groups
        rates = [group["lr"] for group in groups]
        if self.time_gone is not None and isinstance(self.schedule, FeedbackSchedule):
            cosine = 0.5 + 0.5 * math.cos(math.pi * self.time_gone)
            timed = self.lr * (FINAL_LR + (1.0 - FINAL_LR) * cosine)
            for group in groups:
                group["lr"] = min(group["lr"], timed)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr

    def on_train_start(self) -> None:
        """Set the constant learning rate of the settings: a checkpoint brings its own."""
        if isinstance(self.schedule, PublishedSchedule):
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, torch.optim.Optimizer)
            for group in optimizer.param_groups:
                group["lr"] = self.lr

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Train one step on 8-bit images (N, 3, R, R)."""
        if self.held_batch is not None:
            batch = self.held_batch
        rng = self.step_rng(self.global_step)
        x = to_unit(batch)
        messages = torch.randint(0, 2, (len(x), self.bits), generator=rng).to(x)
        if self.transplanted:
            messages = share_within_groups(messages)
        received = marked = self.encoder(x, messages)
        choice = moved = None
        if self.transplanted:
            received, moved, constant = make_transplants(x, marked, self.transplanted, rng)
            self.log("train/constant_fraction", constant)
        if self.mixture is not None:
            # Uniform noise of one grey level stands in for the rounding to 8 bits.
            rounding = torch.rand(marked.shape, generator=rng).to(x).sub_(0.5).div_(255.0)
            # A codec in half precision would be another codec.
            with torch.autocast(x.device.type, enabled=False):
                received, choice = self.mixture(received.float() + rounding, rng)
        logits = self.decoder(received)
        bce = F.binary_cross_entropy_with_logits(logits, messages)
        mse = (marked - x).square().mean()
        colour = colour_fraction(marked - x)
        weight = self.schedule.image_weight()
        loss = self.bce_loss_weight * bce + weight.to(mse) * mse + self.colour_weight * colour

        check_loss(self, loss)

        accuracies = ((logits > 0) == (messages > 0.5)).float().mean(dim=1).detach()
        fidelity = psnr(marked.detach(), x)
        worst = accuracies.mean()
        if self.mixture is not None and choice is not None:
            self.mixture.learn(choice, accuracies)
            worst = 1.0 - self.mixture.error.max()
        means = torch.stack([accuracies.mean(), fidelity.mean(), worst.to(accuracies)])
        gathered = self.all_gather(means)
        assert isinstance(gathered, Tensor)
        means = gathered.view(-1, 3).mean(dim=0)
        self.schedule.update(self.encoder, means[0], means[1], means[2])

        if self.mixture is not None:
            for number, member in enumerate(self.mixture.members):
                self.log(f"perturbation/reach_{member.name}", self.mixture.reach[number])
                error = self.mixture.error[number]
                self.log(f"perturbation/bit_accuracy_{member.name}", 1.0 - error)
        untouched = accuracies if choice is None else accuracies[(choice < 0).to(accuracies.device)]
        self.log("train/loss", loss)
        self.log("train/bce_loss", bce)
        self.log("train/l2_loss", mse)
        self.log("train/colour_fraction", colour)
        self.log("train/bit_accuracy", means[0], prog_bar=True)
        if len(untouched):
            self.log("train/bit_accuracy_unperturbed", untouched.mean())
        if moved is not None and moved.any():
            self.log("train/bit_accuracy_transplanted", accuracies[moved].mean())
        self.log("train/psnr", means[1], prog_bar=True)
        self.log("train/psnr_worst", fidelity.min())
        self.log("train/residual_rms", mse.detach().sqrt())
        for name, value in self.schedule.figures().items():
            self.log(f"schedule/{name}", value.float())
        if isinstance(self.encoder, ResidualEncoder):
            self.log("train/strength", self.encoder.log_strength.detach().exp())
        if self.global_step % 50 == 0:
            with torch.no_grad():
                self.log("train/ssim", ssim(marked.clamp(0.0, 1.0), x).mean())
        result: Tensor = loss
        return result

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Validate on 8-bit pixels with real operations."""
        rng = torch.Generator().manual_seed(batch_idx)
        x = to_unit(batch)
        messages = torch.randint(0, 2, (len(x), self.bits), generator=rng).to(x)
        marked = to_8bit(self.encoder(x, messages))
        received = to_unit(marked)

        def log(name: str, value: Tensor, bar: bool = False) -> None:
            self.log(f"val/{name}", value.mean(), batch_size=len(x), sync_dist=True, prog_bar=bar)

        def accuracy(images: Tensor) -> Tensor:
            result: Tensor = (
                ((self.decoder(to_unit(images)) > 0) == (messages > 0.5)).float().mean()
            )
            return result

        logits = self.decoder(received)
        clean = ((logits > 0) == (messages > 0.5)).float().mean()
        fidelity = psnr(received, x).mean()
        log("bce_loss", F.binary_cross_entropy_with_logits(logits, messages))
        log("bit_accuracy", clean, bar=True)
        log("psnr", fidelity, bar=True)
        log("ssim", ssim(received, x).mean())
        for scale in PIXELS_PER_DEGREE:
            seen = visibility(received, x, scale)
            log(f"scielab_p95_{scale}", seen.p95)
            log(f"scielab_over2_{scale}", seen.share)
            worst = f"val/scielab_p95_{scale}_worst"
            self.log(worst, seen.p95.max(), reduce_fx="max", batch_size=len(x), sync_dist=True)
        perturbed = [clean]
        for name, perturbation, strength in VALIDATION_CONDITIONS:
            value = accuracy(perturbation.real(marked, strength, rng))
            perturbed.append(value)
            log(f"bit_accuracy_{name}", value)
        self.validated.append(torch.stack([torch.stack(perturbed).mean(), fidelity]) * len(x))
        self.validated_images += len(x)

    def on_validation_epoch_start(self) -> None:
        """Start with no figures."""
        self.validated, self.validated_images = [], 0

    def on_validation_epoch_end(self) -> None:
        """Log the score by which the best weights are chosen, of all images together."""
        accuracy, fidelity = torch.stack(self.validated).sum(dim=0) / self.validated_images
        short = (self.target_psnr - TOLERANCE - fidelity).clamp_min(0.0)
        self.log("val/score", accuracy - 0.05 * short, sync_dist=True)
