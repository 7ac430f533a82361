"""What a decoder reads in the images of trained generators: does the fingerprint transfer?

    artfp embed --data_dir cifar10/train --output_dir marked --encoder_path cifar32 --key a.key.json
    artfp gan train dcgan --data_dir marked/fingerprinted_images --output_dir gan --keep_every 250
    python benchmarks/generated.py --generators gan/snapshots --weights cifar32 --key a.key.json

For each generator: bit accuracy of an image (mean, and what 5% of the images fall under), and the
p-value of the test by which `artfp detect --same_source` goes, for the first 1, 10 and 100 images
and for all; as log10, of one key, not corrected. Images are rounded to 8 bits before they are read.
The table names what was done to a generator after its training (artfp gan alter, and train --init).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from numpy.typing import NDArray
from rich.table import Table

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.bundle import find_weights
from artfp.data.paths import file_hash
from artfp.data.pixels import to_8bit
from artfp.generators import Generator
from artfp.generators.weights import load_generator
from artfp.nn.random_inputs import ImageRandomInputs
from artfp.ownership.key import Key
from artfp.stats import evaluate_source
from artfp.transfer.decoded import bit_accuracies
from artfp.watermark import Decoder, load_decoder
from artfp.watermark.api import decode_logits

_BATCH = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Sample, decode, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generators", required=True, nargs="+", help="files, or folders of them")
    parser.add_argument("--weights", default="cifar32", help="a shipped name or a decoder's file")
    parser.add_argument("--as_it_is", action="store_true", help="decode without realignment")
    parser.add_argument("--key", required=True, help="key file of the fingerprint")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the generators' draws")
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    if args.images < 1:
        raise UserError("--images: at least 1")
    decoder, _ = load_decoder(args.weights, not args.as_it_is)
    key = Key.load(args.key).fingerprint(decoder.bits)
    rows = []
    for path in files(args.generators):
        generator, card = load_generator(path)
        logits = decode(decoder, generator, args.images, args.seed)
        rows.append({**origin(path, card), **figures(logits, key)})
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    console().print(table)
    if args.output:
        digest = file_hash(find_weights(args.weights, "decoder"))
        report.write(args.output, decoder=digest, images=args.images, rows=rows)
    return 0


def files(places: Sequence[str]) -> list[Path]:
    """Generators' files, those of a folder in the order of their names."""
    found: list[Path] = []
    for place in map(Path, places):
        found += sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
    if not found:
        raise UserError(f"--generators: no .safetensors file in {', '.join(places)}")
    return found


def origin(path: Path, card: dict[str, Any]) -> dict[str, object]:
    """What a generator is, after how many steps, and what was done to it then, as its card tells.

    Steps of a training that went on from another are told as `1500 + 300`.
    """
    training = card.get("training", {})
    steps, init = card.get("step", path.stem), training.get("init")
    done = [_told(entry) for entry in card.get("altered", [])]
    if init is not None:
        steps = f"{init['steps']} + {steps}"
        before = [_told(entry) for entry in init.get("altered", [])]
        done = [*before, f"tuned on {', '.join(training['data'])}", *done]
    return {"model": card.get("model"), "steps": steps, "altered": ", ".join(done) or "no"}


def _told(entry: dict[str, Any]) -> str:
    return f"{entry['by']} {entry['strength']:g}"


@torch.inference_mode()
def decode(decoder: Decoder, generator: Generator, images: int, seed: int) -> NDArray[np.float32]:
    """Logits (images, bits) of what a generator makes from a seed."""
    return np.concatenate(list(_decoded(decoder, generator, images, seed)))


def _decoded(
    decoder: Decoder, generator: Generator, images: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, images, _BATCH):
        draws = ImageRandomInputs(seed, range(start, min(start + _BATCH, images)))
        yield decode_logits(decoder, to_8bit(generator.sample(draws))).numpy()


def figures(logits: NDArray[np.float32], key: NDArray[np.uint8]) -> dict[str, float]:
    """The figures of a generator by its images' logits (N, bits) and the fingerprint (bits,)."""
    right = bit_accuracies(logits, key)
    found = {"bit accuracy": float(right.mean()), "5%": float(np.quantile(right, 0.05))}
    for count in sorted({1, 10, 100, len(logits)}):
        if count <= len(logits):
            log_p = evaluate_source(logits[:count], key[None]).log_p[0]
            found[f"log10 p, {count}"] = float(log_p) / math.log(10.0)
    return found


if __name__ == "__main__":
    sys.exit(run(main, "generated.py"))
