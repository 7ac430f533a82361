"""Trained networks that tell sources apart, with equal computing time: accuracy, also after JPEG.

    OMP_NUM_THREADS=1 python benchmarks/learned.py --data_dir SOURCES --work runs/learned \\
        --networks compact,published,compact:jpeg --minutes 5 \\
        --output benchmarks/results/learned.json

SOURCES has one subfolder of images for each source, all of one size. Of each, --fit images train,
a fifth of them held out to calibrate, and others, at most --test, test; which, is drawn from the
files' names, as in benchmarks/passive.py, so that the rows can be laid beside that table. A network
is NAME or NAME:PART+PART, a part being a perturbation to immunise against or a setting of the
network, such as low_pass=4, high_pass=8 or convolve_from=16: frequency and patch studies. Beside
networks NAME may be nearest or eigenface, or visnet, which trains for --max_steps, not --minutes.

--minutes are of this process's CPU time, for each network, looks at held out images included: on a
shared machine the clock on the wall measures the neighbours. A network that stops earlier has taken
--max_steps. Trainings lie in --work, with checkpoints and figures: the same command goes on with
what is there, and several commands can train several networks at once.

- `largest`: accuracy of attribution to the largest logit, with its interval (Clopper-Pearson 95%).
- `likeliest`, `log_loss`, `rejected`: by the model of the scores, as in benchmarks/passive.py.
- `curve`: (step, CPU seconds, held out accuracy, log loss) at each look; log loss of the logits.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import report
import torch
from passive import image_set
from rich.table import Table

from artfp.core.command import run
from artfp.core.console import console, quiet_libraries
from artfp.data.files import write_atomic
from artfp.data.pixels import to_unit
from artfp.data.sources import (
    open_sources,
)
from artfp.data.subset import split_sources
from artfp.data.tables import round_significant
from artfp.passive.attributors.bundle import FittedAttributor, load_attributor, save_attributor
from artfp.passive.attributors.classifier import NetworkAttributor
from artfp.passive.attributors.score_model import log_loss
from artfp.passive.attributors.verdicts import NONE, predict_images
from artfp.passive.attributors.visnet import VISNET, VisNetAttributor
from artfp.passive.fitting.baselines import BASELINES, fit_baseline
from artfp.passive.fitting.classifier import train_classifier
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.leakage import find_leakage
from artfp.passive.fitting.visnet import fit_visnet
from artfp.passive.roc import Accuracy
from artfp.passive.settings import ClassifierSettings, VisNetSettings
from artfp.passive.training.classifier import ClassifierModule
from artfp.perturbations.registry import PERTURBATIONS

CURVE, FIGURES = "curve.json", "figures.json"
VISNET_STEPS = 1500


class Clock(pl.Callback):
    """Ends a training after so much CPU time of this process, and writes down each look."""

    def __init__(self, seconds: float, file: Path) -> None:
        self.seconds, self.file = seconds, file
        self.curve: list[list[float]] = []
        self.before = self.begun = 0.0

    @property
    def spent(self) -> float:
        """CPU seconds of the training, resumed or not."""
        return self.before + time.process_time() - self.begun

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        self.begun = time.process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop in time."""
        trainer.should_stop = trainer.should_stop or self.spent >= self.seconds

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down what the look found."""
        assert isinstance(pl_module, ClassifierModule)
        found = [float(trainer.callback_metrics[f"held_out/{k}"]) for k in ("accuracy", "loss")]
        self.curve.append([trainer.global_step, self.spent, *found])
        write_atomic(self.file, json.dumps(self.curve) + "\n")
        step, spent, accuracy, loss = self.curve[-1]
        print(f"{self.file.parent.name}: step {step:.0f}, {spent:.0f} s, held out accuracy "
              f"{accuracy:.4f}, log loss {loss:.4f}", flush=True)  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"spent": self.spent, "curve": self.curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was."""
        self.before, self.curve = state_dict["spent"], state_dict["curve"]


def main(argv: Sequence[str] | None = None) -> int:
    """Train each network, test it, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="a subfolder of images for each source")
    parser.add_argument("--work", required=True, help="folder for the trainings")
    parser.add_argument("--networks", default="compact,published", help="separated by commas")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU time of each network")
    parser.add_argument("--max_steps", type=int, help="at most; default: as many as there is time")
    parser.add_argument("--fit", type=int, default=512, help="images of each source to train")
    parser.add_argument("--test", type=int, default=488, help="others that test, at most")
    parser.add_argument("--jpeg", default="95,75", help="qualities of JPEG to test")
    parser.add_argument("--look_every", type=int, default=50, help="steps between looks")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    quiet_libraries()
    sources = open_sources(Path(args.data_dir))
    guard = find_leakage(sources)
    for finding in guard:
        print(f"warning: {finding}", file=sys.stderr)
    fitted, tested = split_sources(sources, args.fit, args.test, args.seed)
    known, test = image_set(fitted, args.seed), image_set(tested, args.seed, 1)
    rows = [row(what, known, test, args) for what in args.networks.split(",")]
    console().print(_table(rows))
    if args.output:
        report.write(
            args.output,
            sources=list(known.sources),
            size=list(known.policy.size),
            fit=args.fit,
            test={name: int((test.labels == k).sum()) for k, name in enumerate(test.sources)},
            guard=[str(finding) for finding in guard],
            networks=round_significant(rows),
        )
    return 0


def row(what: str, known: ImageSet, test: ImageSet, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of a network, which is trained and tested unless it was."""
    name, _, more = what.partition(":")
    parts = [part for part in more.split("+") if part]
    folder = Path(args.work) / what.replace(":", "_").replace("+", "_")
    if (folder / FIGURES).is_file():
        known_figures: dict[str, Any] = json.loads((folder / FIGURES).read_text())
        return known_figures
    if not (folder / "attributor.safetensors").is_file():
        if name in BASELINES:
            made = fit_baseline(known, name, name=what).attributor
        elif name == VISNET:
            made = visnet(folder, known, args)
        else:
            made = network(folder, name, parts, known, args)
        save_attributor(made, folder)
    attributor = load_attributor(folder, what)
    curve = folder / CURVE
    figures = {
        "network": what,
        "parameters": _parameters(attributor),
        "steps": attributor.metadata.get("training", {}).get("steps"),
        "curve": json.loads(curve.read_text()) if curve.is_file() else [],
        "tests": tests(attributor, test, [int(part) for part in args.jpeg.split(",")]),
    }
    write_atomic(folder / FIGURES, json.dumps(figures, indent=1) + "\n")
    return figures


def network(
    folder: Path, name: str, parts: Sequence[str], known: ImageSet, args: argparse.Namespace
) -> FittedAttributor:
    """A trained network; it goes on where it stopped."""
    pairs = [part.split("=") for part in parts if "=" in part]
    settings = ClassifierSettings(
        output_dir=folder,
        network=name,  # type: ignore[arg-type]
        **{key: int(value) for key, value in pairs},  # type: ignore[arg-type]
        max_steps=args.max_steps or sys.maxsize,
        immunise=tuple(part for part in parts if "=" not in part),
        seed=args.seed,
        validate_every=args.look_every,
        checkpoint_minutes=2.0,
        resume=(folder / "checkpoints" / "last.ckpt").is_file(),
        cuda=-1,
        precision=args.precision,
    )
    clock = Clock(60.0 * args.minutes, folder / CURVE)
    found = train_classifier(known, settings, name=folder.name, callbacks=[clock])
    assert found is not None
    return found.attributor


def visnet(folder: Path, known: ImageSet, args: argparse.Namespace) -> FittedAttributor:
    """A trained visNet, likewise."""
    settings = VisNetSettings(
        output_dir=folder,
        max_steps=args.max_steps or VISNET_STEPS,
        seed=args.seed,
        validate_every=args.look_every,
        resume=(folder / "checkpoints" / "last.ckpt").is_file(),
        cuda=-1,
        precision=args.precision,
    )
    return fit_visnet(known, settings, name=folder.name)[0].attributor


def tests(
    attributor: FittedAttributor, test: ImageSet, qualities: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Figures of the test images as they are and after JPEG of these qualities."""
    pixels, labels = test.stack_windows(), test.labels
    found = {}
    for quality in (None, *qualities):
        changed = pixels
        if quality is not None:
            changed = PERTURBATIONS["jpeg"].real(pixels, float(quality), torch.Generator())
        vectors = np.concatenate(
            [attributor.score_vectors(to_unit(part)) for part in changed.split(256)]
        )
        logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
        logits = vectors[:, : len(attributor.sources)]
        hits = [int((logits[labels == k].argmax(1) == k).sum()) for k in np.unique(labels)]
        accuracy = Accuracy(tuple(hits), tuple(np.bincount(labels).tolist()))
        low, high = accuracy.interval()
        verdicts = [
            x.verdict for x in predict_images(logs, fits, attributor.sources, attributor.rule)
        ]
        found["as they are" if quality is None else f"JPEG {quality}"] = {
            "largest": accuracy.overall,
            "low": low,
            "high": high,
            "by_source": {name: accuracy.fraction(k) for k, name in enumerate(test.sources)},
            "likeliest": float((logs.argmax(1) == labels).mean()),
            "log_loss": log_loss(logs, labels),
            "rejected": float(np.mean([verdict == NONE for verdict in verdicts])),
        }
    return found


def _parameters(attributor: FittedAttributor) -> int | None:
    part = attributor.parts[0]
    if not isinstance(part, NetworkAttributor | VisNetAttributor):
        return None
    return sum(p.numel() for p in part.network.parameters())


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("network", "parameters", "steps", "test images", "largest", "likeliest",
                  "log loss", "rejected")  # fmt: skip
    for each in rows:
        for condition, figures in each["tests"].items():
            cells = [f"{figures[key]:.4f}" for key in ("largest", "likeliest", "log_loss",
                                                        "rejected")]  # fmt: skip
            table.add_row(
                each["network"], str(each["parameters"]), str(each["steps"]), condition, *cells
            )
    return table


if __name__ == "__main__":
    sys.exit(run(main, "learned.py"))
