"""Trains a steganalyser on clean and fingerprinted images that are in memory."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from artfp.core.fitting import fit
from artfp.core.lightning import check_loss, new_trainer
from artfp.data.pixels import to_unit
from artfp.secrecy.network import Steganalyser

_VALIDATION = "validation/loss"


@dataclass(frozen=True)
class SteganalyserTraining:
    """Length and learning rate of the training.

    `max_steps` of `batch_size` images, half of them clean; `rate` of Adamax, which SRNet uses,
    falling by a cosine. Every `look_every` steps the loss on the validation images is
    taken; without a new minimum in `patience` looks the training ends. `patch`: images with longer
    sides give random squares of this many pixels in training, and are scored whole.
    """

    max_steps: int = 400
    batch_size: int = 64
    rate: float = 2e-3
    look_every: int = 25
    patience: int = 6
    patch: int = 64


class SteganalyserModule(pl.LightningModule):
    """A steganalyser in training; batches are pairs (clean, marked) of 8-bit (N, 3, H, W)."""

    def __init__(self, network: Steganalyser, settings: SteganalyserTraining) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def configure_optimizers(self) -> Any:
        """Return Adamax under a cosine."""
        optimizer = torch.optim.Adamax(self.parameters(), self.settings.rate, weight_decay=2e-4)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.settings.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": fall, "interval": "step"}}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the cross entropy of one balanced batch."""
        loss = self._loss(batch)
        check_loss(self, loss, remedy="take another seed")
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Note the loss on the validation images."""
        self.log(_VALIDATION, self._loss(batch), batch_size=len(batch[0]))

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        clean, marked = batch
        x = to_unit(torch.cat([clean, marked])).contiguous(memory_format=torch.channels_last)
        target = torch.zeros(len(x), device=x.device)
        target[len(clean) :] = 1.0
        return F.binary_cross_entropy_with_logits(self.network(x), target)


def train_steganalyser(
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    seed: int = 0,
    settings: SteganalyserTraining | None = None,
) -> Steganalyser:
    """Train a steganalyser on (clean, marked) images, to its step of least validation loss.

    Args: 8-bit images (N, 3, H, W), as many clean as marked ones; they need not be pairs of one
    original. `seed` decides weights, order and patches. It runs on a GPU where there is one.

    Returns the network on the CPU, in evaluation mode.
    """
    settings = settings or SteganalyserTraining()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        torch.manual_seed(seed)
        network = Steganalyser().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        best = _Best()
        trainer = new_trainer(
            max_epochs=-1,
            max_steps=settings.max_steps,
            val_check_interval=settings.look_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            callbacks=[best, EarlyStopping(_VALIDATION, patience=settings.patience)],
            logger=False,
            devices=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        fit(
            trainer,
            SteganalyserModule(network, settings),
            DataLoader(_Stream(training, settings, seed), batch_size=None),
            DataLoader(_Batches(validation), batch_size=None),
        )
    network.load_state_dict(best.state or network.state_dict())
    trained: Steganalyser = network.cpu().eval().requires_grad_(False)
    return trained


class _Best(pl.Callback):
    """Keeps the weights of least validation loss."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.state: dict[str, Tensor] | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the weights if they are the best so far."""
        assert isinstance(pl_module, SteganalyserModule)
        loss = float(trainer.callback_metrics[_VALIDATION])
        if loss < self.loss:
            self.loss, self.state = loss, copy.deepcopy(pl_module.network.state_dict())


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Clean and marked images in their order, in batches of 128 of each."""

    def __init__(self, images: tuple[Tensor, Tensor]) -> None:
        self.parts = list(zip(*(x.split(128) for x in images), strict=True))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean, marked = self.parts[index]
        return clean, marked


class _Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless balanced batches; clean and marked images are shuffled apart."""

    def __init__(
        self, images: tuple[Tensor, Tensor], settings: SteganalyserTraining, seed: int
    ) -> None:
        self.images, self.settings, self.seed = images, settings, seed

    def __iter__(self) -> Any:
        draws = torch.Generator().manual_seed(self.seed)
        count = len(self.images[0])
        half = min(max(1, self.settings.batch_size // 2), count)
        while True:
            orders = [torch.randperm(count, generator=draws).split(half) for _ in self.images]
            for rows in zip(*orders, strict=True):
                if len(rows[0]) == half:
                    yield tuple(
                        self._cut(x[row], draws) for x, row in zip(self.images, rows, strict=True)
                    )

    def _cut(self, x: Tensor, draws: torch.Generator) -> Tensor:
        """A random square of each image (N, 3, H, W), the same for all of the batch."""
        for axis in (2, 3):
            length = min(x.shape[axis], self.settings.patch)
            room = x.shape[axis] - length + 1
            x = x.narrow(axis, int(torch.randint(room, (1,), generator=draws)), length)
        return x
