"""Planted fingerprints: what is recovered of them from N images, against theory.

    python benchmarks/planted.py --data_dir PHOTOS --output benchmarks/results/planted.json

A pattern K of white Gaussian noise with k grey levels standard deviation is added to images, which
are then rounded to 8 bits, up or down at random so that weak patterns survive, and clipped. The
mean residual m of N of them should, with residuals of variance s^2 per value,

- have the energy k^2 + s^2 / N,
- correlate with K by 1 / sqrt(1 + s^2 / (N k^2)),
- correlate with residuals of other images of the source so that these have the AUC Phi(d / sqrt 2)
  against unmarked ones, d = sqrt(values) times m's correlation with K times k / sqrt(k^2 + s^2).

That is the textbook. Extractors take a share of the pattern away and turn the rest, images have
something in common of their own, their residuals are not white, and some are noisier than others.
`predicted` knows of it: S is what the pattern does to the mean residual of all images, p its energy
over K's and g its projection on K; c^2 is the energy of the unmarked images' own mean residual, e
that of each unmarked test image's residual.

- energy p k^2 + c^2 + s^2 / N,
- correlation g k / sqrt(energy),
- AUC: the mean of Phi(d / sqrt 2) over test images, d = sqrt(p) k / sqrt(energy) times
  sqrt(p) k / sqrt(p k^2 + e) over the standard deviation of an unmarked image's correlation with m.
  Its variance is the mean of three by their shares of the energy: of correlations with S, with what
  unmarked images have in common, and with the residual of another unmarked image, all measured.

Images to estimate on and to test are apart. All energies are per value (pixel and channel), in
squared grey levels. Figures are means over patterns, each with the images in another order.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import planted_plot
import report
import torch
from rich.table import Table
from scipy.special import ndtr
from torch import Tensor

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.geometry import Geometry
from artfp.data.reading import load_images
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.passive.residuals import Extractor, load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, correlation
from artfp.stats.intervals import auc

BATCH = 64


@dataclass(frozen=True)
class Host:
    """What unmarked images do: mean residual, and energies per value in squared grey levels."""

    mean: Tensor
    common: float
    noise: float
    chance: float
    """Variance of the correlations of two images' residuals."""
    common_chance: float
    """Variance of a residual's correlation with what all have in common."""
    tests: Tensor
    """Residuals of unmarked test images (N, 3, H, W)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Plant, recover, print the table, write JSON and plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="natural images of one size")
    parser.add_argument("--extractor", default="wavelet:sigma=5")
    parser.add_argument("--strengths", default="0.125,0.25,0.5,1,2,4", help="k in grey levels")
    parser.add_argument("--estimate", type=int, default=1024, help="images to estimate on, at most")
    parser.add_argument("--test", type=int, default=256, help="images to test")
    parser.add_argument("--patterns", type=int, default=5)
    parser.add_argument("--output", default="benchmarks/results/planted.json")
    parser.add_argument("--plot", help="PNG file")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    extractor = load_extractor(args.extractor)
    source = limit_images(open_source(args.data_dir), args.estimate + args.test)
    pixels, failed = load_images(source, Geometry(), args.estimate + args.test)
    if len(pixels) < args.estimate + args.test:
        raise UserError(
            f"{args.data_dir}: {len(pixels)} images can be used and {len(failed)} cannot; "
            f"{args.estimate + args.test} needed"
        )
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    estimate, test = pixels[order].split([args.estimate, args.test])
    host = _host(estimate, test, extractor)
    rows: list[dict[str, Any]] = []
    for strength in map(float, args.strengths.split(",")):
        each = [
            list(_recovered(estimate, test, extractor, strength, seed, host))
            for seed in range(args.patterns)
        ]
        for same in zip(*each, strict=True):
            rows.append({name: _mean([row[name] for row in same]) for name in same[0]})
    console().print(_table(rows))
    size = list(pixels.shape[1:])
    common = {"extractor": extractor.text, "size": size, "patterns": args.patterns}
    report.write(
        args.output,
        **common,
        test_images=args.test,
        residual_variance=host.noise,
        energy_of_unmarked_mean=host.common,
        variance_of_unmarked_correlations=host.chance,
        variance_of_correlations_with_their_mean=host.common_chance,
        rows=rows,
    )
    if args.plot:
        title = f"white patterns planted in {size[2]}x{size[1]} images; {extractor.text}"
        planted_plot.write(args.plot, rows, title)
    return 0


def _host(estimate: Tensor, test: Tensor, extractor: Extractor) -> Host:
    residuals = torch.cat([extractor(x) for x in _planted(estimate, None, 0)])
    found = ResidualFingerprint.empty(residuals.shape[1:], extractor.text, "unmarked")
    found.add(residuals)
    count = len(estimate)
    single = _energy(residuals)
    common = (_energy(found.mean) * count - single) / (count - 1)
    tests = torch.cat([extractor(x) for x in _planted(test, None, 1)])
    chance = float(correlation(tests, residuals).var())
    of_mean = float(correlation(tests, found.mean[None]).var())
    noise = (single - common) / count
    of_common = max(0.0, (of_mean * (common + noise) - chance * noise) / common)
    return Host(found.mean, common, single - common, chance, of_common, tests)


def _recovered(
    estimate: Tensor, test: Tensor, extractor: Extractor, strength: float, seed: int, host: Host
) -> Iterator[dict[str, float]]:
    """A row for N = 1, 2, 4, ... images and for all of them."""
    draw = torch.Generator().manual_seed(1000 + seed)
    pattern = torch.randn(estimate.shape[1:], generator=draw)
    estimate = estimate[torch.randperm(len(estimate), generator=draw)]
    planted = torch.cat([extractor(x) for x in _planted(test, pattern * strength, 1 + seed)])
    found = ResidualFingerprint.empty(pattern.shape, extractor.text, "planted")
    means: dict[int, Tensor] = {}
    residuals = torch.cat(
        [extractor(x) for x in _planted(estimate, pattern * strength, 2000 + seed)]
    )
    for stop in _steps(len(estimate)):
        found.add(residuals[found.count : stop])
        means[stop] = found.mean
    done = (found.mean - host.mean).double() * 255.0
    truth = pattern.double() * strength
    gain = float((done * truth).sum() / truth.square().sum())
    spread = float(done.square().mean() / truth.square().mean())
    k2, s2 = strength**2, host.noise
    values = pattern.numel()
    every = torch.stack(list(means.values()))
    negatives = correlation(host.tests, every).T.numpy()
    positives = correlation(planted, every).T.numpy()
    recovered = correlation(every, pattern[None])[:, 0].tolist()
    chance = float(correlation(host.tests, done[None]).var())
    energies = (host.tests.double() * 255.0).square().mean((1, 2, 3)).numpy()
    for at, (count, mean) in enumerate(means.items()):
        textbook = 1.0 / np.sqrt(1.0 + s2 / (count * k2))
        expected = spread * k2 + host.common + s2 / count
        predicted = min(1.0, gain * strength / np.sqrt(expected))
        correct = np.sqrt(values) * textbook * strength / np.sqrt(k2 + s2)
        share = spread * k2 / expected
        variance = share * chance
        variance += (
            host.common / expected * host.common_chance + s2 / count / expected * host.chance
        )
        own = np.sqrt(share * spread * k2 / ((spread * k2 + energies) * variance))
        yield {
            "strength": strength,
            "images": count,
            "gain": gain,
            "spread": spread,
            "energy": _energy(mean) / k2,
            "energy_textbook": 1.0 + s2 / (count * k2),
            "energy_predicted": expected / k2,
            "correlation": recovered[at],
            "correlation_textbook": float(textbook),
            "correlation_predicted": float(predicted),
            "auc": auc(negatives[at], positives[at]),
            "auc_textbook": float(ndtr(correct / np.sqrt(2.0))),
            "auc_predicted": float(ndtr(own / np.sqrt(2.0)).mean()),
        }


def _planted(pixels: Tensor, pattern: Tensor | None, seed: int) -> Iterator[Tensor]:
    """Images in [0, 1] of 8 bits, with a pattern in grey levels or none."""
    draw = torch.Generator().manual_seed(seed)
    for part in pixels.split(BATCH):
        levels = part.float()
        if pattern is not None:
            levels = levels + pattern
        up = torch.rand(levels.shape, generator=draw)
        yield (levels + up).floor().clamp(0.0, 255.0) / 255.0


def _steps(count: int) -> list[int]:
    """1, 2, 4, ... and `count` itself."""
    return [2**i for i in range(count.bit_length()) if 2**i < count] + [count]


def _energy(residuals: Tensor) -> float:
    return float((residuals.double() * 255.0).square().mean())


def _mean(values: Sequence[float]) -> float:
    return values[0] if isinstance(values[0], int) else float(np.mean(values))


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("k", "N", "gain", "energy", "theory", "predicted", "correlation", "theory ",
                  "predicted ", "AUC", "theory  ", "predicted  ")  # fmt: skip
    for row in rows:
        table.add_row(
            f"{row['strength']:g}",
            str(row["images"]),
            f"{row['gain']:.3f}",
            *(
                f"{row[name + end]:.{digits}f}"
                for name, digits in (("energy", 2), ("correlation", 3), ("auc", 3))
                for end in ("", "_textbook", "_predicted")
            ),
        )
    return table


if __name__ == "__main__":
    sys.exit(run(main, "planted.py"))
