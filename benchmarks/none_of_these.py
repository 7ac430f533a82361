"""How often images of known sources are called "none of these", against the level asked for.

    OMP_NUM_THREADS=1 python benchmarks/none_of_these.py

Three synthetic sources: smooth scenes with noise, and with a weak tile of the source's own,
repeated over the image. Each study draws --images of each source, fits an attributor to them, and
predicts --further other images of each. Networks are small and train for few steps: what counts is
not their accuracy but whether their p-values hold.

- `rejected`: fraction of the further images with a p-value of at most alpha, by that of the
  likeliest source (which is the verdict "none of these") and by that of their own source. The
  latter is what alpha bounds; the former also has the images whose likeliest source is another.
- `error`: standard error of `rejected`, from the spread between the sources of all studies: the
  images of one source and study share their calibration images, so they are not independent.
- `binomial`: standard error if they were; `excess`: (rejected - alpha) / error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artfp.core.command import run
from artfp.core.console import console, quiet_libraries
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.sources import open_source
from artfp.data.tables import Column, rich_table, round_significant
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.fitting.baselines import fit_baseline
from artfp.passive.fitting.classifier import train_classifier
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.visnet import fit_visnet
from artfp.passive.settings import ClassifierSettings, VisNetSettings

SOURCES, SIDE, TILE = ("a", "b", "c"), 32, 8
STEPS = 60
LEVELS = (0.05, 0.1)

Fit = Callable[[ImageSet, Path, int], FittedAttributor]


def draw_images(source: int, count: int, seed: int) -> Tensor:
    """Draw 8-bit images (count, 3, SIDE, SIDE) of a source."""
    own = torch.Generator().manual_seed(77 + source)
    tile = 4.0 * torch.randn(3, TILE, TILE, generator=own)
    rng = torch.Generator().manual_seed(1000 * seed + source)
    scenes = (
        60.0
        * torch.rand(count, 1, 1, 1, generator=rng)
        * F.interpolate(torch.randn(count, 3, 4, 4, generator=rng), (SIDE, SIDE), mode="bicubic")
    )
    noise = 4.0 * torch.randn(count, 3, SIDE, SIDE, generator=rng)
    return to_8bit((128.0 + scenes + noise + tile.repeat(1, SIDE // TILE, SIDE // TILE)) / 255.0)


def train_network(image_set: ImageSet, folder: Path, seed: int) -> FittedAttributor:
    """Train a classifier for STEPS steps."""
    settings = ClassifierSettings(
        output_dir=folder, max_steps=STEPS, validate_every=STEPS, seed=seed, cuda=-1, mirror=False
    )
    found = train_classifier(image_set, settings)
    assert found is not None
    return found.attributor


def train_visnet(image_set: ImageSet, folder: Path, seed: int) -> FittedAttributor:
    """Train a VisNet for STEPS steps."""
    settings = VisNetSettings(
        output_dir=folder, max_steps=STEPS, validate_every=STEPS, seed=seed, cuda=-1, width=4
    )
    return fit_visnet(image_set, settings)[0].attributor


def _baseline(kind: str) -> Fit:
    return lambda image_set, folder, seed: fit_baseline(image_set, kind).attributor


KINDS: dict[str, tuple[Fit, float]] = {
    "nearest": (_baseline("nearest"), 1.0),
    "eigenface": (_baseline("eigenface"), 1.0),
    "classifier": (train_network, 0.5),
    "visnet": (train_visnet, 0.5),
}
"""Attributors, and the fraction of --studies that each has."""


def run_study(
    fit: Fit, images: int, further: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Return p-values (further,) by likeliest and own source, and the accuracy, by source."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        for number, name in enumerate(SOURCES):
            (folder / name).mkdir()
            drawn = draw_images(number, images, 2 * seed).permute(0, 2, 3, 1).numpy()
            for row, image in enumerate(drawn):
                # Names decide the folds: other ones in each study.
                Image.fromarray(image).save(folder / name / f"{seed}_{row}.png", compress_level=0)
        image_set = ImageSet({name: open_source(folder / name) for name in SOURCES}, folder=folder)
        attributor = fit(image_set, folder / "out", seed)
        image_set.close()
    likeliest, own, right = [], [], []
    for number in range(len(SOURCES)):
        vectors = attributor.score_vectors(to_unit(draw_images(number, further, 2 * seed + 1)))
        p_values = attributor.p_values(vectors)
        chosen = attributor.log_likelihoods(vectors).argmax(1)
        likeliest.append(p_values[np.arange(further), chosen])
        own.append(p_values[:, number])
        right.append(float((chosen == number).mean()))
    return likeliest, own, right


def summarise(p_values: Sequence[np.ndarray], alpha: float) -> dict[str, float]:
    """Return the rejected fraction of p-values (images,) of each source and study, with errors."""
    rates = np.array([(own <= alpha).mean() for own in p_values])
    error = float(rates.std(ddof=1) / np.sqrt(len(rates)))
    rejected, count = float(rates.mean()), sum(map(len, p_values))
    return {
        "rejected": rejected,
        "error": error,
        "binomial": float(np.sqrt(alpha * (1 - alpha) / count)),
        "excess": (rejected - alpha) / max(error, 1e-9),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the studies, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="attributors")
    parser.add_argument("--images", type=int, nargs="+", default=[40, 150])
    parser.add_argument("--further", type=int, default=100)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--output", default="benchmarks/results/none_of_these.json")
    args = parser.parse_args(argv)
    quiet_libraries()
    rows: list[dict[str, Any]] = []
    for kind in args.kinds.split(","):
        fit, share = KINDS[kind]
        for images in args.images:
            begun, studies = time.process_time(), max(2, round(share * args.studies))
            found = [run_study(fit, images, args.further, seed) for seed in range(studies)]
            accuracy = float(np.mean([study[2] for study in found]))
            for alpha in LEVELS:
                for by, place in (("likeliest", 0), ("own", 1)):
                    p_values = [own for study in found for own in study[place]]
                    row = {"attributor": kind, "images": images, "studies": studies,
                           "accuracy": accuracy, "alpha": alpha, "by": by}  # fmt: skip
                    rows.append({**row, **summarise(p_values, alpha)})
            seconds = time.process_time() - begun
            console().print(f"{kind}, {images} images: {studies} studies, {seconds:.0f} s")
    report.write(args.output, rows=round_significant(rows, 4))
    names = ("attributor", "images", "studies", "accuracy", "alpha", "by", "rejected", "error",
             "binomial", "excess")  # fmt: skip
    console().print(rich_table(rows, [Column(name) for name in names]))
    return 0


if __name__ == "__main__":
    sys.exit(run(main, "none_of_these.py"))
