"""Time and peak memory of a source's fingerprint against the number of its images.

    python benchmarks/fingerprint_memory.py --data_dir CIFAR

Each run is a process of its own; what counts is its peak resident memory. The images lie in a folder
of links to files of `--data_dir`, a thousand a folder. `names_mib` is what the list of their names
takes, which grows with their number; `images_mib` the rest of the peak, above what the process took
before the list was made.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report
import torch
from memory import links

from artfp.data.sources import open_source
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.estimate import estimate_fingerprint


def main() -> None:
    """Run all, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder of images of one size")
    parser.add_argument("--extractor", default="wavelet:sigma=1")
    parser.add_argument("--images", default="1000,10000,100000")
    parser.add_argument("--output", default="benchmarks/results/fingerprint_memory.json")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.run:
        print(json.dumps(_measured(args.data_dir, args.extractor)))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=Path(args.data_dir).resolve().parent) as folder:
        for count in map(int, args.images.split(",")):
            data = Path(folder) / f"{count}"
            links(Path(args.data_dir), data, count)
            words = [sys.executable, __file__, "--data_dir", str(data), "--run"]
            words += ["--extractor", args.extractor]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1])
    first, last = rows[0], rows[-1]
    growth = {name: last[name] - first[name] for name in ("peak_mib", "names_mib", "images_mib")}
    print("growth from the fewest to the most images:", growth)
    report.write(args.output, extractor=load_extractor(args.extractor).text, rows=rows,
                 growth=growth)  # fmt: skip


def _measured(data: str, text: str) -> dict[str, Any]:
    extractor = load_extractor(text)
    extractor(torch.rand(1, 3, 64, 64))
    before = _resident()
    source = open_source(data)
    names = _resident() - before
    wall, cpu = time.perf_counter(), time.process_time()
    found, failed = estimate_fingerprint(source, extractor, "links")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "images": found.count,
        "failed": len(failed),
        "size": list(found.shape),
        "names_mib": names,
        "images_mib": peak - before - names,
        "peak_mib": peak,
        "ms_per_image": (time.perf_counter() - wall) / found.count * 1000.0,
        "cpu_ms_per_image": (time.process_time() - cpu) / found.count * 1000.0,
    }


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
