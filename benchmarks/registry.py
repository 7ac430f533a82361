"""How long a search in a big registry takes, and how much memory.

    OMP_NUM_THREADS=2 python benchmarks/registry.py

Builds a registry of random fingerprints, and searches it for random words, some of them planted: a
registered fingerprint with one bit in ten flipped, whose entry must come first. Each step is a
process of its own, so that its peak memory is its own. `opening_seconds` and `seconds` are the
search's; Python's start and imports are in neither.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artfp.ownership.registry import Registry, RegistryEntry

PLANTED_EVERY = 10
_SEED = 11
_CHUNK = 10_000

Words = NDArray[np.uint8]


def main(argv: Sequence[str] | None = None) -> int:
    """Build, search, verify; print the figures and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=1_000)
    parser.add_argument("--bits", type=int, nargs="+", default=[100])
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--verify", action="store_true", help="time Registry.verify too")
    parser.add_argument("--output", default="benchmarks/results/registry.json")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.step:
        name, path, bits = args.step.split(":", 2)
        print(json.dumps(STEPS[name](path, int(bits), args)))
        return 0
    searches = [measure(bits, args) for bits in args.bits]
    for figures in searches:
        for name, value in figures.items():
            print(f"{name:16} {value}")
    import report  # it imports torch, whose memory is none of ours

    report.write(args.output, searches=searches)
    return 0


def measure(bits: int, args: argparse.Namespace) -> dict[str, object]:
    """The figures of a registry of fingerprints of `bits` bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        steps = ["build", "search", *(["verify"] if args.verify else [])]
        figures: dict[str, object] = {"entries": args.entries, "words": args.words, "bits": bits}
        for name in steps:
            print(f"{name} ...", file=sys.stderr, flush=True)
            figures |= step(name, path, bits, args)
        figures["file_mb"] = round(path.stat().st_size / 1e6)
    return figures


def step(name: str, path: Path, bits: int, args: argparse.Namespace) -> dict[str, object]:
    """Run one step in a process of its own."""
    command = [sys.executable, __file__, "--step", f"{name}:{path}:{bits}"]
    for option in ("entries", "words", "top"):
        command += [f"--{option}", str(getattr(args, option))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, object] = json.loads(done.stdout)
    return figures


def fingerprints(entries: int, bits: int) -> Iterator[Words]:
    """Random fingerprints (count, bits), always the same, chunk by chunk."""
    rng = np.random.default_rng([_SEED, bits])
    for start in range(0, entries, _CHUNK):
        count = min(_CHUNK, entries - start)
        yield rng.integers(0, 2, (count, bits), dtype=np.uint8)


def build(path: str, bits: int, args: argparse.Namespace) -> dict[str, object]:
    """Make the registry."""
    began = time.perf_counter()
    number = 0

    def entries() -> Iterator[RegistryEntry]:
        nonlocal number
        for chunk in fingerprints(args.entries, bits):
            for word in chunk:
                yield RegistryEntry.of(word, f"owner {number % 1000}", f"model {number}", "ab" * 32)
                number += 1

    with Registry(path, create=True) as registry:
        registry.add_all(entries())
    return {
        "build_seconds": round(time.perf_counter() - began, 2),
        "build_peak_mb": peak(),
    }


def search(path: str, bits: int, args: argparse.Namespace) -> dict[str, object]:
    """Search for words, some of them planted."""
    rng = np.random.default_rng(_SEED)
    words = rng.integers(0, 2, (args.words, bits), dtype=np.uint8)
    chosen = np.sort(rng.choice(args.entries, args.words, replace=False))
    planted = {}
    for start, chunk in enumerate(fingerprints(args.entries, bits)):
        for i in np.flatnonzero(chosen // _CHUNK == start)[::PLANTED_EVERY]:
            flipped = rng.choice(bits, bits // 10, replace=False)
            words[i] = chunk[chosen[i] % _CHUNK]
            words[i, flipped] ^= 1
            planted[int(i)] = int(chosen[i])
    began = time.perf_counter()
    with Registry(path) as registry:
        opened = time.perf_counter()
        found = registry.search(words, top=args.top)
        done = time.perf_counter()
    first = {i: found.entries[i][0].subject for i in planted}
    right = [i for i, number in planted.items() if first[i] == f"model {number}"]
    assert found.compared == args.entries
    return {
        "top": args.top,
        "opening_seconds": round(opened - began, 3),
        "seconds": round(done - opened, 2),
        "peak_mb": peak(),
        "planted": len(planted),
        "planted_found": len(right),
    }


def verify(path: str, bits: int, args: argparse.Namespace) -> dict[str, object]:
    """Check the whole file."""
    began = time.perf_counter()
    with Registry(path) as registry:
        registry.verify()
    return {
        "verify_seconds": round(time.perf_counter() - began, 2),
        "verify_peak_mb": peak(),
    }


def peak() -> int:
    """Most memory that this process has had, in MB (on Linux)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


STEPS = {"build": build, "search": search, "verify": verify}


if __name__ == "__main__":
    from artfp.core.command import run

    sys.exit(run(main))
