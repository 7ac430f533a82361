"""Labelled images, their batches, and the course of a training, shared by all networks."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from artfp.core.fitting import fit
from artfp.data.pixels import to_unit
from artfp.data.resume import Manifest

Batch = tuple[Tensor, Tensor]
"""8-bit images (N, 3, R, R) and their labels (N,), int64."""


@dataclass(frozen=True)
class LabelledImages:
    """8-bit images (N, 3, R, R) and the numbers (N,), int64, of their sources, 0 to K - 1."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """Return the SHA-256 of labels and pixels."""
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        for part in self.pixels.split(1024):
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()


class LabelledData(pl.LightningDataModule):
    """Training batches from the trainer's step on; held-out images in their order."""

    def __init__(
        self, training: LabelledImages, held_out: LabelledImages, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self.training, self.held_out = training, held_out
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Return endless batches, balanced over the sources, those of this process."""
        assert self.trainer is not None
        place = self.trainer.global_step, self.trainer.global_rank, self.trainer.world_size
        images, labels = self.training.pixels, self.training.labels
        stream = BalancedBatches(images, labels, self.batch_size, self.seed, *place)
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the held-out images."""
        return DataLoader(
            OrderedBatches(self.held_out.pixels, self.held_out.labels), batch_size=None
        )


def claim_training(
    output: Path, run: str, card: dict[str, Any], sources: Sequence[str], training: LabelledImages
) -> None:
    """Claim the folder for a training with the settings `card` on these images.

    Raises UserError: it holds another training.
    """
    settings = {**card, "sources": list(sources), "images_sha256": training.digest()}
    Manifest.claim(output, settings, run)


def run_training(
    trainer: pl.Trainer, module: pl.LightningModule, data: LabelledData, resume: Path | None
) -> str | None:
    """See `artfp.core.fitting.fit`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        return fit(trainer, module, data, checkpoint=resume)


class HeldOutValidation(pl.LightningModule):
    """Module that validates `ema`, the network that is kept, on held-out images.

    Batches are 8-bit images (N, 3, R, R) with labels (N,), numbers of sources from 0 on.
    `confusion` (K, K) counts images by source and by the source with the largest logit.
    """

    ema: nn.Module

    def __init__(self, sources: int) -> None:
        super().__init__()
        self.confusion = torch.zeros(sources, sources)
        self._losses = torch.zeros(sources)

    def on_validation_epoch_start(self) -> None:
        """Reset the counts."""
        self.confusion.zero_()
        self._losses.zero_()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count the predictions of the averaged weights for held-out images."""
        pixels, labels = batch
        x = to_unit(pixels).contiguous(memory_format=torch.channels_last)
        logits, labels = self.ema(x).float().cpu(), labels.cpu()
        ones = torch.ones(len(labels))
        self.confusion.index_put_((labels, logits.argmax(1)), ones, accumulate=True)
        self._losses.index_add_(0, labels, F.cross_entropy(logits, labels, reduction="none"))

    def on_validation_epoch_end(self) -> None:
        """Log accuracy and loss as means over the sources."""
        images = self.confusion.sum(1).clamp_min(1.0)
        accuracy = (self.confusion.diagonal() / images).mean()
        self.log("held_out/accuracy", accuracy, prog_bar=True, sync_dist=True)
        self.log("held_out/loss", (self._losses / images).mean(), sync_dist=True)


class BalancedBatches(IterableDataset[Batch]):
    """Endless batches in which sources are equally frequent, as are the images of a source.

    Args:
        pixels: 8-bit images (N, 3, R, R).
        labels: Numbers (N,) of their sources, from 0 on.
        batch_size: Images in a batch.
        seed: Seed of the order.
        step: First step.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        batch_size: int,
        seed: int = 0,
        step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.pixels, self.labels, self.batch_size, self.seed = pixels, labels, batch_size, seed
        self.step, self.rank, self.world = step, rank, world
        self._rows = [
            torch.nonzero(labels == k).flatten().numpy() for k in range(int(labels.max()) + 1)
        ]

    def __iter__(self) -> Iterator[Batch]:
        step = self.step
        orders: dict[int, tuple[int, np.ndarray]] = {}
        while True:
            first = (step * self.world + self.rank) * self.batch_size
            rows = torch.from_numpy(
                np.array([self._row(first + n, orders) for n in range(self.batch_size)])
            )
            yield self.pixels[rows], self.labels[rows]
            step += 1

    def _row(self, place: int, orders: dict[int, tuple[int, np.ndarray]]) -> int:
        """Return the image at a place of the stream: each source comes once in each round."""
        turn, number = divmod(place, len(self._rows))
        sources = np.random.default_rng((self.seed, 0, turn)).permutation(len(self._rows))
        source = int(sources[number])
        own = self._rows[source]
        epoch, index = divmod(turn, len(own))
        if orders.get(source, (-1, own))[0] != epoch:
            drawn = np.random.default_rng((self.seed, 1, source, epoch)).permutation(own)
            orders[source] = epoch, drawn
        return int(orders[source][1][index])


class OrderedBatches(Dataset[Batch]):
    """Images with labels in their order, in batches of 512 x 512 pixels in all, at most."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        step = max(1, (1 << 18) // (pixels.shape[-1] * pixels.shape[-2]))
        self.parts = list(zip(pixels.split(step), labels.split(step), strict=True))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch:
        return self.parts[index]
