"""What it takes to remove a source's fingerprint: accuracy of attribution against strength and PSNR.

    python benchmarks/removal.py --data_dir sources --leave_out real --plot removal.png

A source is a subfolder. Its first --estimate images estimate the analyst's fingerprint, as many more
the attacker's, and --images others are attacked. An image counts as attributed where its plain
correlation with its own source's fingerprint is the largest (Marra et al. 2019). Attacks:

    mean        subtract the attacker's fingerprint, times the strength
    projection  subtract as much of it as each image's residual holds, times the strength
    nearest     as mean, rounded to the nearest grey level instead of at random
    scrambled   as mean, with a pattern of the same amplitudes and random phases: what such a change
                costs where it has nothing to do with the fingerprint

Intervals are Clopper and Pearson's, 95%.
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from rich.table import Table
from torch import Tensor

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.decode import decode_image
from artfp.data.pixels import as_batch, to_unit
from artfp.data.sources import (
    ImageSource,
    open_sources,
)
from artfp.data.subset import Subset
from artfp.metrics.fidelity import psnr
from artfp.passive.residuals import Extractor, load_extractor
from artfp.passive.residuals.estimate import estimate_fingerprint
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.passive_studies.removal.attack import quantise, subtract_fingerprint
from artfp.passive_studies.removal.report import AttackPoint, plot_removal
from artfp.stats.intervals import clopper_pearson

ATTACKS = ("mean", "projection", "nearest", "scrambled")


def main(argv: Sequence[str] | None = None) -> int:
    """Estimate, attack, attribute, print the table, write JSON and plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data_dir", required=True)
    add("--leave_out", nargs="*", default=[], help="sources that take no part")
    add("--extractor", default="wavelet:sigma=3")
    add("--estimate", type=int, default=300)
    add("--images", type=int, default=100)
    add("--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0])
    add("--seed", type=int, default=0)
    add("--output", help="file for the figures, JSON")
    add("--plot", help="file for the plot, PNG")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    extractor = load_extractor(args.extractor)
    found = open_sources(Path(args.data_dir))
    sources = {name: each for name, each in found.items() if name not in args.leave_out}
    least = 2 * args.estimate + args.images
    for name, source in sources.items():
        if len(source) < least:
            raise UserError(f"{name}: {len(source)} images; it takes {least}")
    analyst: list[Tensor] = []
    attacker: list[Tensor] = []
    images: list[Tensor] = []
    for name, source in sources.items():
        parts = [_part(source, i * args.estimate, (i + 1) * args.estimate) for i in (0, 1)]
        for prints, part in zip((analyst, attacker), parts, strict=True):
            prints.append(estimate_fingerprint(part, extractor, name)[0].mean)
        rest = _part(source, 2 * args.estimate, least)
        pixels = [as_batch(decode_image(rest.read(i)).pixels) for i in range(args.images)]
        images.append(torch.cat(pixels))
    rows = [
        _attacked(images, attacker, torch.stack(analyst), extractor, attack, strength, args.seed)
        for attack in ATTACKS
        for strength in args.strengths
    ]
    _show(rows)
    if args.plot:
        lines = {
            attack: [
                AttackPoint(row["strength"], row["psnr"], row["accuracy"], row["low"], row["high"])
                for row in rows
                if row["attack"] == attack
            ]
            for attack in ATTACKS
        }
        Path(args.plot).write_bytes(plot_removal(lines, 1.0 / len(sources)))
    if args.output:
        told = {"extractor": extractor.text, "estimate": args.estimate, "images": args.images}
        levels = {name: float(p.std()) * 255 for name, p in zip(sources, attacker, strict=True)}
        report.write(args.output, **told, fingerprints_in_grey_levels=levels, rows=rows)
    return 0


def _part(source: ImageSource, first: int, last: int) -> ImageSource:
    return Subset(source, list(range(first, last)))


def _attacked(
    images: list[Tensor],
    attacker: list[Tensor],
    analyst: Tensor,
    extractor: Extractor,
    attack: str,
    strength: float,
    seed: int,
) -> dict[str, Any]:
    """Accuracy after an attack on all sources' images."""
    generator = torch.Generator().manual_seed(seed)
    right, decibels, own = [], [], []
    for index, (x, fingerprint) in enumerate(zip(images, attacker, strict=True)):
        pattern = _scrambled(fingerprint, seed + index) if attack == "scrambled" else fingerprint
        residuals = extractor(x) if attack == "projection" else None
        after = subtract_fingerprint(x, pattern, strength, residuals)
        y = to_unit(quantise(after, None if attack == "nearest" else generator))
        scores = correlation(extractor(y), analyst)
        right.append(scores.argmax(1) == index)
        decibels.append(psnr(x, y))
        own.append(scores[:, index])
    hits = torch.cat(right)
    low, high = clopper_pearson(int(hits.sum()), len(hits), 0.975)
    return {
        "attack": attack,
        "strength": strength,
        "psnr": float(torch.cat(decibels).mean()),
        "accuracy": float(hits.float().mean()),
        "low": float(low),
        "high": float(high),
        "correlation": float(torch.cat(own).mean()),
        "by source": [float(each.float().mean()) for each in right],
    }


def _scrambled(fingerprint: Tensor, seed: int) -> Tensor:
    """A pattern of the same amplitudes; phases are those of noise, alike in all colours."""
    noise = np.random.default_rng(seed).normal(size=fingerprint.shape[1:])
    spectrum = torch.fft.rfft2(torch.from_numpy(noise).float())
    turned = torch.fft.rfft2(fingerprint) * (spectrum / spectrum.abs().clamp_min(1e-12))
    return torch.fft.irfft2(turned, s=fingerprint.shape[-2:])


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("attack", "strength", "PSNR", "accuracy", "95% interval", "mean correlation")
    for row in rows:
        table.add_row(
            row["attack"],
            f"{row['strength']:g}",
            f"{row['psnr']:.2f}",
            f"{row['accuracy']:.3f}",
            f"{row['low']:.3f}-{row['high']:.3f}",
            f"{row['correlation']:.4f}",
        )
    console().print(table)


if __name__ == "__main__":
    sys.exit(run(main, "removal.py"))
