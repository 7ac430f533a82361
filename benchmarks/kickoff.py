"""Steps and seconds until a new training reads bits at accuracy 0.99, against the published recipe.

    python benchmarks/kickoff.py --data_dir CIFAR --resolution 32 --output .../kickoff_cifar32.json

Both train on the same images with the same batch size, bits and threads. What counts is the bit
accuracy of unperturbed training images, as a mean over five steps in a row; the clock starts when
the first batch is asked for. artfp runs with its defaults (perturbations included); the published
recipe (stegastamp, Adam 1e-4, no perturbations, no image loss before 0.9) is stopped after
--published_seconds, and its accuracy at that moment is reported.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from typing import Any

import pytorch_lightning as pl
import report

from artfp.core.console import quiet_libraries
from artfp.data import Geometry, open_source
from artfp.data.train_module import TrainingData
from artfp.watermark.training.callbacks import Milestones, StallRecovery
from artfp.watermark.training.module import FingerprintAutoencoder


class StopWhenRead(pl.Callback):
    """Ends a training when its milestone is reached; keeps the last accuracies."""

    def __init__(self, milestones: Milestones) -> None:
        self.milestones = milestones
        self.recent: deque[float] = deque(maxlen=50)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Look after each step."""
        self.recent.append(float(trainer.callback_metrics["train/bit_accuracy"]))
        trainer.should_stop = self.milestones.step is not None


def main() -> None:
    """Run all, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--resolution", type=int, required=True)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--published_seeds", type=int, default=1)
    parser.add_argument("--published_seconds", type=float, default=3600.0)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    quiet_libraries()
    runs = [_run(args, "residual", "feedback", seed, 3600.0) for seed in range(args.seeds)]
    for seed in range(args.published_seeds):
        runs.append(_run(args, "stegastamp", "published", seed, args.published_seconds))
    ours = [run["seconds"] for run in runs if run["architecture"] == "residual"]
    theirs = [run["seconds"] for run in runs if run["architecture"] == "stegastamp"]
    ratio = min(theirs) / max(ours) if theirs else None
    report.write(args.output, runs=runs, slowest_of_ours_against_quickest_published=ratio)
    if ratio:
        print(f"at least {ratio:.0f} times fewer seconds (our slowest, their quickest or stop)")


def _run(
    args: argparse.Namespace, architecture: str, schedule: str, seed: int, limit: float
) -> dict[str, Any]:
    """Train until 0.99 or until the time is up."""
    data = TrainingData(
        open_source(args.data_dir),
        args.resolution,
        Geometry(args.resolution) if schedule == "published" else None,
        args.batch_size,
        num_workers=1,
        seed=seed,
    )
    module = FingerprintAutoencoder(
        architecture=architecture,
        bits=args.bits,
        resolution=args.resolution,
        schedule=schedule,
        lr=1e-4 if schedule == "published" else 2e-3,
        target_psnr=36.0 if args.resolution == 32 else 40.0,
        perturb=schedule != "published",
        seed=seed,
    )
    milestones = Milestones(0.99, window=5)
    stop = StopWhenRead(milestones)
    guard = StallRecovery(act=schedule != "published")
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            devices=1,
            max_epochs=-1,
            max_steps=1_000_000,
            max_time={"seconds": limit},
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[guard, milestones, stop],
        )
        trainer.fit(module, datamodule=data)
    row = {
        "architecture": architecture,
        "schedule": schedule,
        "seed": seed,
        "reached": milestones.step is not None,
        "steps": milestones.step or trainer.global_step,
        "seconds": round(milestones.seconds or limit, 2),
        "psnr_at_the_end": float(trainer.callback_metrics["train/psnr"]),
        "accuracy_at_the_end": sum(stop.recent) / len(stop.recent),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
