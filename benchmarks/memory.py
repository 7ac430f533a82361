"""Peak memory of embedding and detection against the size of the data set.

    python benchmarks/memory.py --data_dir CIFAR --weights cifar32 --images 2000,50000

Each run is a process of its own; what counts is the peak resident memory of the main process and
of its largest loader process. Where the data hold fewer images, links under new names fill up.
Photographs of 24 megapixels, made from four images of the data, with the shipped weights:

    python benchmarks/memory.py --data_dir PHOTOS --weights photo128 --images 8,40 \\
        --enlarge 6000x4000 --output benchmarks/results/memory_photographs.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import report
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run all, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder of images")
    parser.add_argument("--weights", default="cifar32")
    parser.add_argument("--images", default="2000,50000")
    parser.add_argument("--enlarge", help="take four images only, enlarged to this WIDTHxHEIGHT")
    parser.add_argument("--output", default="benchmarks/results/memory.json")
    parser.add_argument("--run", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        _measured(args.run)
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=Path(args.data_dir).resolve().parent) as folder:
        source = Path(args.data_dir)
        if args.enlarge:
            source = enlarged(source, Path(folder) / "large", args.enlarge)
        for count in map(int, args.images.split(",")):
            data = Path(folder) / f"{count}"
            links(source, data, count)
            rows += [_row(command, data, args.weights, count) for command in ("embed", "detect")]
    growth = {}
    for command in ("embed", "detect"):
        peaks = [row["peak_mib"] for row in rows if row["command"] == command]
        growth[command] = peaks[-1] / peaks[0]
    print(f"{'':10}   images  peak MiB  largest child")
    for row in rows:
        print(
            f"{row['command']:10} {row['images']:8} {row['peak_mib']:9.0f} {row['child_mib']:14.0f}"
        )
    print("peak of the largest set against the smallest:", growth)
    report.write(args.output, rows=rows, growth=growth)


def enlarged(data: Path, folder: Path, size: str) -> Path:
    """Write four images of `data` at a size, as JPEG; return their folder."""
    folder.mkdir()
    width, height = map(int, size.split("x"))
    for number, path in enumerate(sorted(p for p in data.rglob("*") if p.is_file())[:4]):
        Image.open(path).convert("RGB").resize((width, height)).save(folder / f"{number}.jpg")
    return folder


def links(data: Path, folder: Path, count: int) -> None:
    """`count` hard links to images of `data`, a thousand a folder."""
    files = sorted(path for path in data.rglob("*") if path.is_file())
    for i in range(count):
        place = folder / f"{i // 1000:03}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(files[i % len(files)], place / f"{i:06}{files[i % len(files)].suffix}")


def _row(command: str, data: Path, weights: str, count: int) -> dict[str, Any]:
    script = {"embed": "embed_fingerprints.py", "detect": "detect_fingerprints.py"}[command]
    path = {"embed": "--encoder_path", "detect": "--decoder_path"}[command]
    with tempfile.TemporaryDirectory(dir=data.parent) as output:
        words = [str(ROOT / script), path, weights, "--data_dir", str(data), "--cuda", "-1"]
        words += ["--output_dir", output]
        words += ["--identical_fingerprints"] if command == "embed" else []
        run = [sys.executable, __file__, "--data_dir", "-", "--run", sys.executable, *words]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
    print(command, count, file=sys.stderr)
    return {"command": command, "images": count, **json.loads(done.stdout.splitlines()[-1])}


def _measured(words: list[str]) -> None:
    """Run a script in this process, then print its peak memory."""
    sys.argv = words[1:]
    sys.path.insert(0, str(ROOT))
    from artfp.cli.main import main as artfp

    name = "embed" if "embed" in Path(words[1]).name else "detect"
    code = artfp(words[2:], command=name)
    if code:
        sys.exit(code)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"peak_mib": own, "child_mib": child}))


if __name__ == "__main__":
    main()
