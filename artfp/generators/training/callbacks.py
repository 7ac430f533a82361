"""Pictures and snapshots while a generative model trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchvision.utils import make_grid

from artfp.data.bundle import Card
from artfp.data.pixels import to_unit
from artfp.generators.base import GenerativeModel, Generator
from artfp.generators.trained_network import DataBatch
from artfp.generators.training.module import GenerativeModule
from artfp.generators.weights import save_generator
from artfp.nn.random_inputs import ImageRandomInputs

PICTURE_IMAGES = 64
"""Images in a picture."""

_A_ROW = 8


def sample_grid(
    model: GenerativeModel,
    generator: Generator,
    inputs: DataBatch | None = None,
    seed: int = 0,
) -> Tensor:
    """Return a grid (3, h, w) in [0, 1] of images of a generator of `model`, on the CPU.

    It has 64 images, of all classes in turn; for a translator, for each of its targets a row of
    `inputs` (8-bit) above a row of their translations.
    """
    device = next(generator.parameters()).device
    if model.translates:
        assert inputs is not None
        rows = []
        for target in generator.targets:
            domain = 1 - target if model.domains == 2 else 0
            x = to_unit(inputs.images[domain][:_A_ROW].to(device))
            rows += [x, generator.translate(x, target)]
        shown = torch.cat(rows)
    else:
        labels = None
        if generator.classes:
            labels = torch.arange(PICTURE_IMAGES, device=device) % generator.classes
        shown = generator.sample(ImageRandomInputs(seed, range(PICTURE_IMAGES), device), labels)
    row = min(_A_ROW, len(shown) if inputs is None else len(inputs))
    grid: Tensor = make_grid(shown.cpu(), nrow=row, padding=2, pad_value=1.0)
    return grid


class SampleCallback(pl.Callback):
    """Pictures in TensorBoard, and snapshots of the generator.

    Args:
        every: Steps between pictures.
        inputs: Images that a translator translates.
        keep_every: Steps between snapshots, 0 for none.
        folder: Folder of the snapshots, `<folder>/<step>.safetensors`.
        card: Card of the snapshots.
    """

    def __init__(
        self, every: int, inputs: DataBatch | None, keep_every: int, folder: Path, card: Card
    ) -> None:
        self.every, self.inputs = every, inputs
        self.keep_every, self.folder, self.card = keep_every, folder, card

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write what is due after this step."""
        assert isinstance(pl_module, GenerativeModule)
        step = trainer.global_step
        if not trainer.is_global_zero:
            return
        board = getattr(trainer.logger, "experiment", None)
        if step % self.every == 0 and board is not None and hasattr(board, "add_image"):
            picture = sample_grid(pl_module.model, pl_module.ema_generator, self.inputs)
            board.add_image("samples", picture, step)
        if self.keep_every and step % self.keep_every == 0:
            path = self.folder / f"{step:06}.safetensors"
            save_generator(pl_module.ema_generator, path, {**self.card, "step": step})
