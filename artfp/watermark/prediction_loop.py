"""Prediction with Lightning over a source of images; results go to a journal."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytorch_lightning as pl

from artfp.core.errors import UserError
from artfp.core.lightning import new_trainer
from artfp.core.lightning_progress import LightningProgress
from artfp.core.processes import return_large_memory
from artfp.data.decode import log_composited
from artfp.data.predict_module import ImageBatch, PredictionData
from artfp.data.resume import Journal
from artfp.data.writing import BackgroundWriter


class Prediction(pl.LightningModule):
    """Base class of predictions over a source: its names, a journal, and threads that write."""

    caption = "Predicting"
    """Caption of the progress."""

    def __init__(self, names: list[str], folder: Any, what: str) -> None:
        super().__init__()
        self.names, self.folder, self.what = names, folder, what
        self.journal = Journal(folder, what)
        self.writer = BackgroundWriter()
        self.composited = 0
        self.on_sigterm = signal.getsignal(signal.SIGTERM)

    def on_predict_start(self) -> None:
        """Open a journal for each process; SIGTERM does what it did before Lightning took it."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.on_sigterm)
        self.journal = Journal(self.folder, self.what, self.global_rank)

    def on_predict_batch_start(self, batch: ImageBatch, *_: Any) -> None:
        """Count the images with transparent pixels."""
        self.composited += sum(batch.composited)

    def on_predict_end(self) -> None:
        """Wait until all results of this process are on disk."""
        self.writer.finish()
        log_composited(self.composited)
        self.journal.close()


def make_trainer(**options: Any) -> pl.Trainer:
    """Return a Trainer for predictions, by default on the CPU in this process.

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
    """Predict over all images that are left; return True if this process is the first.

    Raises UserError: the folder of the results went away meanwhile.
    """
    if data.remaining():
        return_large_memory()
        progress = trainer.progress_bar_callback
        if isinstance(progress, LightningProgress):
            progress.caption, progress.total = module.caption, data.remaining_images()
        try:
            trainer.predict(module, datamodule=data, return_predictions=False)
        except BaseException:
            module.writer.cancel()
            raise
        trainer.strategy.barrier()  # not in a hook: Lightning calls none without a batch
        if not (module.folder / f"{module.what}.run.json").is_file():
            raise UserError(
                f"{module.folder} was removed or emptied while the run went on; give the "
                "command again"
            )
    return bool(trainer.is_global_zero)


def _images(batch: ImageBatch) -> int:
    """Return how many images of a batch were worked on."""
    return batch.skipped.count(False)
