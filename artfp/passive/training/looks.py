"""What a network in training says of labelled images that are held out."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.data.pixels import to_unit


class HeldOutLooks(pl.LightningModule):
    """A module that counts at each look what `average`, the network that is kept, says of images.

    Batches are 8-bit images (N, 3, R, R) with labels (N,), numbers of sources from 0 on.
    `confusion` (K, K): images by source and by the source with the largest logit.
    """

    average: nn.Module

    def __init__(self, sources: int) -> None:
        super().__init__()
        self.confusion = torch.zeros(sources, sources)
        self._losses = torch.zeros(sources)

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.confusion.zero_()
        self._losses.zero_()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count what the mean of the weights says of images that are held out."""
        pixels, labels = batch
        x = to_unit(pixels).contiguous(memory_format=torch.channels_last)
        logits, labels = self.average(x).float().cpu(), labels.cpu()
        ones = torch.ones(len(labels))
        self.confusion.index_put_((labels, logits.argmax(1)), ones, accumulate=True)
        self._losses.index_add_(0, labels, F.cross_entropy(logits, labels, reduction="none"))

    def on_validation_epoch_end(self) -> None:
        """Log accuracy and loss, in which sources count alike."""
        images = self.confusion.sum(1).clamp_min(1.0)
        accuracy = (self.confusion.diagonal() / images).mean()
        self.log("held_out/accuracy", accuracy, prog_bar=True, sync_dist=True)
        self.log("held_out/loss", (self._losses / images).mean(), sync_dist=True)
