"""What trainings of networks that tell sources apart share: images with labels, and their course.

Every kind of network has its own settings, module and pictures.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from artfp.data.resume import Manifest
from artfp.passive.training.classifier import Balanced, InOrder


@dataclass(frozen=True)
class Labelled:
    """8-bit images (N, 3, R, R) and the numbers (N,), int64, of their sources, 0 to K - 1."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 of labels and pixels."""
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        for part in self.pixels.split(1024):
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()


class LabelledData(pl.LightningDataModule):
    """Training batches from the trainer's step on; held out images in their order."""

    def __init__(self, training: Labelled, held_out: Labelled, batch_size: int, seed: int) -> None:
        super().__init__()
        self.training, self.held_out = training, held_out
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Endless, balanced over the sources, the process's own share."""
        assert self.trainer is not None
        place = self.trainer.global_step, self.trainer.global_rank, self.trainer.world_size
        images, labels = self.training.pixels, self.training.labels
        stream = Balanced(images, labels, self.batch_size, self.seed, *place)
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """All that are held out."""
        return DataLoader(InOrder(self.held_out.pixels, self.held_out.labels), batch_size=None)


def claim(
    output: Path, what: str, told: dict[str, Any], sources: Sequence[str], training: Labelled
) -> None:
    """Claim the folder for a training `what` of these sources and images, with settings `told`.

    Raises UserError: it holds another training.
    """
    deciding = {**told, "sources": list(sources), "images_sha256": training.digest()}
    Manifest.claim(output, deciding, what)


def run(
    trainer: pl.Trainer, module: pl.LightningModule, data: LabelledData, resume: Path | None
) -> None:
    """Train to the end, from a checkpoint on if one is given; KeyboardInterrupt: it was stopped."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None)
    if trainer.interrupted:
        raise KeyboardInterrupt
