"""Residual extractors side by side, by plain correlation: cameras, and generators.

    python benchmarks/extractors.py --cameras cameras512 --sources SOURCES

Cameras: a folder with `flat/` and `natural/`, as `cameras.py` takes it. Generators: a folder with a
folder for each source, as `generators.py` takes it. For each extractor it gives, for the correlation of
RGB residuals with mean residuals and for the same with the mean residuals less their mean over the
sources (`less common`), the AUC over all pairs of image and source, and the fraction of images whose
own source has the highest score; with intervals from resampling whole images. Time is of one thread.
"""  # noqa: E501

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import report
import torch
from numpy.typing import NDArray
from rich.table import Table

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.decode import decode_image
from artfp.data.pixels import as_batch
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import Subset
from artfp.passive.residuals import Extractor, load_extractor
from artfp.passive.residuals.estimate import estimate_fingerprint
from artfp.passive.residuals.prnu import clean_residuals, compare_residuals, reference_patterns
from artfp.passive.residuals.settings import PrnuSettings
from artfp.stats.intervals import auc

EXTRACTORS = (
    "gaussian:sigma=0.5",
    "gaussian:sigma=1",
    "median",
    "wiener",
    "wavelet:sigma=1",
    "wavelet:sigma=3",
    "wavelet:sigma=5",
    "wavelet:sigma=10",
    "learned:sigma=2",
    "learned:sigma=5",
    "learned:sigma=10",
)
SCORES = {"correlation": PrnuSettings(), "less common": PrnuSettings(subtract_grand_mean=True)}
RESAMPLES = 200
_BATCH = 250

Sources = dict[str, tuple[ImageSource, ImageSource]]
"""By name, the images of the fingerprint and those to attribute."""


def main(argv: Sequence[str] | None = None) -> int:
    """Estimate, compare, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cameras", help="folder with flat/ and natural/")
    parser.add_argument("--sources", help="folder with a folder for each source")
    parser.add_argument("--extractors", nargs="+", default=EXTRACTORS)
    parser.add_argument("--estimate", type=int, default=500, help="images of a generator's print")
    parser.add_argument("--test", type=int, default=500, help="images of a generator to attribute")
    parser.add_argument("--output", default="benchmarks/results/extractors.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    kinds: dict[str, Sources] = {}
    if args.cameras:
        kinds["cameras"] = _cameras(args.cameras)
    if args.sources:
        kinds["generators"] = _generators(args.sources, args.estimate, args.test)
    if not kinds:
        raise UserError("give --cameras, --sources or both")
    found: dict[str, Any] = {}
    for kind, sources in kinds.items():
        rows = [_measured(load_extractor(text), sources) for text in args.extractors]
        _print(kind, rows)
        found[kind] = {
            "images": {
                name: [len(part) for part in each] for name, each in sorted(sources.items())
            },
            "extractors": rows,
        }
    report.write(args.output, resamples=RESAMPLES, **found)
    return 0


def _cameras(folder: str) -> Sources:
    flat, natural = (open_source(f"{folder}/{part}") for part in ("flat", "natural"))
    units = sorted({_unit(name) for name in flat.names})
    return {unit: (_of_unit(flat, unit), _of_unit(natural, unit)) for unit in units}


def _of_unit(source: ImageSource, unit: str) -> ImageSource:
    return Subset(source, [i for i, name in enumerate(source.names) if _unit(name) == unit])


def _unit(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit("_", 1)[0]


def _generators(folder: str, fitted: int, tested: int) -> Sources:
    found: Sources = {}
    for name in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        source = open_source(f"{folder}/{name}")
        if len(source) < fitted + tested:
            raise UserError(f"{folder}/{name}: {len(source)} images; {fitted + tested} needed")
        parts = (range(fitted), range(fitted, fitted + tested))
        first, second = (Subset(source, list(part)) for part in parts)
        found[name] = (first, second)
    return found


def _measured(extractor: Extractor, sources: Sources) -> dict[str, Any]:
    start = time.process_time()
    prints = [
        estimate_fingerprint(known, extractor, name)[0] for name, (known, _) in sources.items()
    ]
    references = {score: reference_patterns(prints, extras) for score, extras in SCORES.items()}
    parts: dict[str, list[torch.Tensor]] = {score: [] for score in SCORES}
    truth = []
    for k, (_, tested) in enumerate(sources.values()):
        truth += [k] * len(tested)
        for first in range(0, len(tested), _BATCH):
            batch = range(first, min(first + _BATCH, len(tested)))
            x = torch.cat([as_batch(decode_image(tested.read(i)).pixels) for i in batch])
            residuals = torch.cat([extractor(part) for part in x.split(8)])
            for score, extras in SCORES.items():
                cleaned = clean_residuals(residuals, extras)
                parts[score].append(compare_residuals(cleaned, references[score], extras))
    images = len(truth) + sum(len(known) for known, _ in sources.values())
    row: dict[str, Any] = {
        "extractor": extractor.text,
        "cpu_ms_per_image": 1e3 * (time.process_time() - start) / images,
    }
    for score, tables in parts.items():
        row[score] = _figures(torch.cat(tables).double().numpy(), np.array(truth))
    return row


def _figures(table: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, Any]:
    own = truth[:, None] == np.arange(table.shape[1])
    right = table.argmax(1) == truth
    draws = np.random.default_rng(0)
    drawn = [draws.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES)]
    areas = [auc(table[i][~own[i]], table[i][own[i]]) for i in drawn]
    fractions = [right[i].mean() for i in drawn]
    return {
        "auc": auc(table[~own], table[own]),
        "auc_interval": np.quantile(areas, [0.025, 0.975]).tolist(),
        "own_highest": float(right.mean()),
        "own_highest_interval": np.quantile(fractions, [0.025, 0.975]).tolist(),
    }


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    columns = ("AUC", "95%", "own highest", "95%")
    table = Table("extractor", "ms", *columns, *(f"{name}, less common" for name in columns))
    table.title = title
    for row in rows:
        cells = []
        for score in SCORES:
            for name in ("auc", "own_highest"):
                low, high = row[score][f"{name}_interval"]
                cells += [f"{row[score][name]:.3f}", f"{low:.3f}-{high:.3f}"]
        table.add_row(row["extractor"], f"{row['cpu_ms_per_image']:.1f}", *cells)
    console().print(table)


if __name__ == "__main__":
    sys.exit(run(main, "extractors.py"))
