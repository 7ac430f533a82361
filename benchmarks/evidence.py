"""How often the p-values of `artfp.stats` call an unmarked image fingerprinted, level by level.

    python benchmarks/evidence.py --data_dir PHOTOS --weights photo128 --logits photo128.npz
    python benchmarks/evidence.py --logits photo128.npz

The first decodes 10,000 unmarked images and keeps their logits; the second begins with those. Only
keys are random, as the guarantee says, and every part but two draws fresh ones for every image or
group of images. Given what was decoded, its tests are then independent, however alike the images,
and the interval of Clopper and Pearson is exact. The two have one key for all images, as in use:

- "one key for all images": tests count as fewer by their design effect, which follows from the
  distances between the decoded words (see `false_alarms.py`).
- "any of N images, one key": a test is a key. All images are unmarked, so any that is found is a
  false discovery, and the false discovery rate is the share of keys that find any.

Where p-values take few values, the rate is not the level but what is `attained`, and that should
lie in the 95% interval in 19 of 20 rows. The soft tests have no such number; theirs is at most the
level. Parts that are wrong on purpose show what this benchmark would say of such faults.
Keys are drawn by NumPy's PCG64, seeded: reproducible, not secret, and unrelated to the images.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import report
from decoded import UNPERTURBED, Decoded, Sources, decode
from evidence_parts import PARTS, Subject, extremes
from tallies import Tally, rows, table

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.bundle import find_weights
from artfp.data.paths import file_hash
from artfp.watermark import load_decoder


def main(argv: Sequence[str] | None = None) -> int:
    """Decode, or read what was decoded; count; print the table; write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", nargs="+", help="folders, zips or lists")
    parser.add_argument("--weights", help="a shipped name or a decoder's file; default: photo128")
    parser.add_argument("--logits", help="an .npz: read if it exists, else written")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the numbers of keys")
    parser.add_argument("--seed", type=int, default=0, help="of the keys")
    parser.add_argument("--output", help="default: benchmarks/results/evidence_<weights>.json")
    args = parser.parse_args(argv)
    if args.images < 2 or not 0 < args.effort <= 100 or args.seed < 0:
        raise UserError("--images: at least 2; --effort: above 0, at most 100; --seed: at least 0")
    decoded = obtain(args)
    subject = Subject(decoded, args.effort)
    tallies: list[Tally] = []
    seconds: dict[str, float] = {}
    for number, (name, part) in enumerate(PARTS.items()):
        began = time.perf_counter()
        tallies += part(subject, np.random.default_rng([args.seed, number]))
        seconds[name] = round(time.perf_counter() - began, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr, flush=True)
    found = rows(tallies)
    furthest = extremes(decoded.logits)
    console().print(table(found))
    sound = [row for row in found if not row["wrong_on_purpose"]]
    known = [row["attained_in_interval"] for row in sound if row["attained"] is not None]
    contradicted = sum(row["contradicted"] for row in sound)
    caught = {row["what"] for row in found if row["wrong_on_purpose"] and row["contradicted"]}
    wrong = {row["what"] for row in found if row["wrong_on_purpose"]}
    print(f"{contradicted} of {len(sound)} rows contradict rate <= level")
    print(f"the attained rate lies in {sum(known)} of {len(known)} intervals (95%); else: *")
    print(f"{len(caught)} of {len(wrong)} faults made on purpose were found")
    print(f"log10 p at the extremes: {furthest}")
    weights = Path(decoded.weights).stem.removesuffix("_decoder")
    report.write(
        args.output or f"benchmarks/results/evidence_{weights}.json",
        weights=decoded.weights,
        decoder=decoded.digest,
        bits=subject.bits,
        images=len(decoded.names),
        condition=decoded.condition,
        effort=args.effort,
        keys=f"PCG64, seed {args.seed}",
        seconds=seconds,
        contradicted=contradicted,
        attained_in_interval=f"{sum(known)} of {len(known)}",
        faults_found=f"{len(caught)} of {len(wrong)}",
        log10_p_at_the_extremes=furthest,
        rows=found,
    )
    return int(contradicted > 0)


def obtain(args: argparse.Namespace) -> Decoded:
    """The logits of the file if there is one, else of the images, kept in the file."""
    if args.logits and Path(args.logits).exists():
        found = Decoded.load(args.logits)
        if args.weights and file_hash(find_weights(args.weights, "decoder")) != found.digest:
            raise UserError(f"{args.logits}: decoded by {found.weights}, not by {args.weights}")
        if args.data_dir:
            print(f"{args.logits} is there: nothing is decoded", file=sys.stderr)
        return found
    if not args.data_dir:
        raise UserError("give --data_dir, or with --logits a file that exists")
    weights = args.weights or "photo128"
    sources = Sources(args.data_dir, args.images)
    found = decode(weights, load_decoder(weights)[0], sources)[UNPERTURBED]
    if args.logits:
        found.save(args.logits)
    return found


if __name__ == "__main__":
    sys.exit(run(main, "evidence.py"))
