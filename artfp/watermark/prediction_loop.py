"""One pass of Lightning's prediction loop over a source, with results kept in a journal."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from artfp.core.lightning import LightningProgress, new_trainer
from artfp.data.predict_module import ImageBatch, PredictionData
from artfp.data.resume import Journal
from artfp.data.writing import BackgroundWriter


class Prediction(pl.LightningModule):
    """Base of what runs over a source: names, a journal of results, and threads to write with."""

    caption = "Predicting"
    """What is done, beside the progress."""

    def __init__(self, names: list[str], folder: Any, what: str) -> None:
        super().__init__()
        self.names, self.folder, self.what = names, folder, what
        self.journal = Journal(folder, what)
        self.writer = BackgroundWriter()

    def on_predict_start(self) -> None:
        """Each process writes a journal of its own."""
        self.journal = Journal(self.folder, self.what, self.global_rank)

    def on_predict_end(self) -> None:
        """All results are on disk before any process goes on."""
        self.writer.finish()
        self.journal.close()
        self.trainer.strategy.barrier()


def make_trainer(**options: Any) -> pl.Trainer:
    """A Trainer for predictions; by default on the CPU, in this process.

    Args: `options` of Lightning's Trainer (accelerator, devices, num_nodes, strategy, precision).
    Raises UserError where Lightning refuses them.
    """
    whole: dict[str, Any] = {"accelerator": "cpu", "devices": 1} | options
    return new_trainer(
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[LightningProgress("Predicting", unit="images", size=_images)],
        **whole,
    )


def run_prediction(module: Prediction, data: PredictionData, trainer: pl.Trainer) -> bool:
    """Predict over all that is left; whether this process is the first."""
    if data.remaining():
        progress = trainer.progress_bar_callback
        if isinstance(progress, LightningProgress):
            progress.caption, progress.total = module.caption, data.remaining_images()
        trainer.predict(module, datamodule=data, return_predictions=False)
    return bool(trainer.is_global_zero)


def _images(batch: ImageBatch) -> int:
    """Return how many images of a batch were worked on."""
    return batch.skipped.count(False)
