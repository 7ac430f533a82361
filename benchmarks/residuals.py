"""Time of the residual extractors on one core, and the wavelet's beside prnu-python's.

    python benchmarks/residuals.py --prnu_python PRNU_PYTHON

PRNU_PYTHON is a checkout of prnu-python (https://github.com/polimi-ispl/prnu-python); without one
it is left out. The images are photographs that come with scikit-image. Both do the same work: the
noise of the three colours of an image, `noise_extract` there. They take turns, a round each, in one
process with one thread; the table has medians over the rounds, in milliseconds an image, of CPU
time and of the clock's, which differ where others use the machine. Both wavelets' distance from
the published formula is given too, in grey levels; that is PyWavelets' and SciPy's in float64.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pywt
import report
import torch
from numpy.typing import NDArray
from rich.table import Table
from scipy import ndimage
from skimage import data

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.passive.residuals import known_extractors, load_extractor

SIGMA = 5.0
BATCHES = ((512, 1), (512, 8), (128, 64), (32, 512))
"""Sides and images at once."""

Pixels = NDArray[np.uint8]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prnu_python", help="checkout of prnu-python")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slow_rounds", type=int, default=3, help="of non-local means")
    parser.add_argument("--output", default="benchmarks/results/residuals.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"rounds": args.rounds}
    if args.prnu_python:
        rows = _duel(_prnu_python(args.prnu_python), args.rounds)
        _print("the wavelet and prnu-python", rows)
        figures["wavelet"] = rows
    rows = [_time(text, args) for text in known_extractors()]
    _print("an RGB image of 512 x 512", rows)
    report.write(args.output, **figures, extractors=rows)
    return 0


def _duel(theirs: Callable[..., NDArray[np.float32]], rounds: int) -> list[dict[str, Any]]:
    """Rows of both on images of several sizes, taking turns."""
    ours = load_extractor(f"wavelet:sigma={SIGMA}")
    rows = []
    for side, count in BATCHES:
        images = _photographs(count, side)
        levels = min(4, pywt.dwt_max_level(side, "db4"))
        x = to_unit(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
        few = images[: max(1, min(count, 16))]
        found = (255 * ours(x)).permute(0, 2, 3, 1).numpy()[: len(few)]
        other = np.stack([theirs(image, levels, SIGMA) for image in few])
        exact = np.stack([_formula(image, levels) for image in few])
        work: dict[str, Callable[[], object]] = {
            "prnu_python": partial(_each, few, partial(theirs, levels=levels, sigma=SIGMA)),
            "artfp": partial(ours, x),
        }
        per = {"prnu_python": len(few), "artfp": count}
        times: dict[str, list[list[float]]] = {name: [] for name in work}
        for _ in range(rounds):
            for name, each in work.items():
                times[name].append([seconds / per[name] for seconds in _spent(each)])
        row: dict[str, Any] = {"side": side, "at once": count, "levels": levels}
        for place, clock in enumerate(("processor", "clock")):
            medians = [statistics.median(t[place] for t in times[name]) for name in times]
            row[f"prnu_python {clock} ms"] = 1e3 * medians[0]
            row[f"artfp {clock} ms"] = 1e3 * medians[1]
            row[f"{clock} ratio"] = medians[0] / medians[1]
        row["greatest difference"] = float(np.abs(found - other).max())
        row["artfp to formula"] = float(np.abs(found - exact).max())
        row["prnu_python to formula"] = float(np.abs(other - exact).max())
        rows.append(row)
    return rows


def _time(text: str, args: argparse.Namespace) -> dict[str, Any]:
    """A row of one extractor, by itself."""
    extractor = load_extractor(text)
    x = to_unit(torch.from_numpy(_photographs(1, 512)).permute(0, 3, 1, 2).contiguous())
    slow = extractor.name == "nonlocal_means"
    extractor(x[..., :64, :64])
    spent = [_spent(lambda: extractor(x)) for _ in range(args.slow_rounds if slow else args.rounds)]
    processor, clock = (1e3 * statistics.median(each) for each in zip(*spent, strict=True))
    return {"extractor": text, "processor ms": processor, "clock ms": clock}


def _each(images: Pixels, work: Callable[[Pixels], object]) -> None:
    for image in images:
        work(image)


def _formula(image: Pixels, levels: int) -> NDArray[np.float64]:
    """The published residual of an image (H, W, 3) in grey levels, in float64."""
    found = np.empty(image.shape)
    for colour in range(3):
        approximation, *details = pywt.wavedec2(np.float64(image[..., colour]), "db4", level=levels)
        kept = [tuple(_formula_noise(detail) for detail in bands) for bands in details]
        whole = pywt.waverec2([np.zeros_like(approximation), *kept], "db4")
        found[..., colour] = whole[: image.shape[0], : image.shape[1]]
    return found


def _formula_noise(detail: NDArray[np.float64]) -> NDArray[np.float64]:
    means = [ndimage.uniform_filter(detail**2, side, mode="constant") for side in (3, 5, 7, 9)]
    return detail * SIGMA**2 / np.maximum(np.min(means, axis=0), SIGMA**2)


def _photographs(count: int, side: int) -> Pixels:
    """`count` photographs (N, side, side, 3): pieces of five, turned and mirrored."""
    whole = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.cat()]
    draws = np.random.default_rng(0)
    pieces: list[Pixels] = []
    while len(pieces) < count:
        photograph = whole[len(pieces) % len(whole)] if side < 300 else whole[0]
        top, left = (int(draws.integers(0, n - side + 1)) for n in photograph.shape[:2])
        piece = np.rot90(photograph[top : top + side, left : left + side], len(pieces) // 5)
        pieces.append(piece[:, :: (-1) ** (len(pieces) // 20)])
    return np.ascontiguousarray(pieces)


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - clock


def _prnu_python(checkout: str) -> Callable[..., NDArray[np.float32]]:
    sys.path.insert(0, checkout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            functions = importlib.import_module("prnu.functions")
        except ImportError as error:
            raise UserError(f"--prnu_python {checkout}: {error}") from error
    warnings.filterwarnings("ignore", message="Please import `uniform_filter`")
    found: Callable[..., NDArray[np.float32]] = functions.noise_extract
    return found


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console().print(table)


if __name__ == "__main__":
    sys.exit(run(main, "residuals.py"))
