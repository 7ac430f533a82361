"""Which way round a decoder without symmetric carriers takes images, strongly or weakly marked.

    python benchmarks/orientation.py --data_dir cifar10/test --images 256 \\
        --weights published/encoder.safetensors --output orientation_published32.json

Each image carries a message of its own. It is weakened (strength of the residual) or compressed,
and decoded upright, mirrored, and turned by 90 degrees, by an `OrientingDecoder` of several
margins (of the mirrored image; that of turned ones has twice the excess over 1): 1 takes the surest
of the eight orientations; inf (null in the file) stands for a decoder
of images as they are. For each: bit accuracy, and the fraction of images that were put another way
round than they lay.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

import report
import torch
from rich.table import Table
from torch import Tensor

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.progress import track
from artfp.data import open_source
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.geometry import Geometry
from artfp.data.paths import file_hash
from artfp.data.pixels import to_unit
from artfp.data.reading import load_images
from artfp.perturbations.codec import Jpeg
from artfp.watermark import Decoder, load_decoder, load_encoder
from artfp.watermark.networks.base import add_residual
from artfp.watermark.networks.orientation import Orientation, OrientingDecoder

MARGINS = (1.0, 1.1, 1.2, 1.25, 1.3, 1.5, math.inf)
STRENGTHS = (1.0, 0.5, 0.4, 0.3, 0.2)
QUALITIES = (95, 90, 75)
FORMS = (Orientation(0, False), Orientation(0, True), Orientation(1, False))
_BATCH = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Embed, perturb, decode, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="images that the weights have not seen")
    parser.add_argument("--weights", required=True, help="a shipped name or an encoder's file")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    encoder, _ = load_encoder(args.weights)
    weights = find_decoder(args.weights)
    decoder, _ = load_decoder(weights, realign=False)
    geometry = Geometry(encoder.resolution)
    pixels, _ = load_images(open_source(args.data_dir), geometry, args.images)
    seeded = torch.Generator().manual_seed(0)
    messages = torch.randint(0, 2, (len(pixels), encoder.bits), generator=seeded)
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        residual = encoder.residual(to_unit(pixels), messages.float())
        sets = {f"strength {s:g}": add_residual(pixels, residual * s) for s in STRENGTHS}
        sets |= {f"JPEG {q}": jpeg(sets["strength 1"], q) for q in QUALITIES}
        for name, images in track(list(sets.items()), caption="Decoding"):
            for form in FORMS:
                moved = images.flip(-1) if form.mirrored else images
                moved = moved.rot90(form.turns, (-2, -1))
                for margin in MARGINS:
                    figures = decode(decoder, moved, messages, str(form), margin)
                    rows.append({"images": name, "form": str(form), "margin": margin, **figures})
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    console().print(table)
    if args.output:
        digest = file_hash(find_weights(weights, "decoder"))
        for row in rows:
            row["margin"] = None if math.isinf(row["margin"]) else row["margin"]
        report.write(args.output, decoder=digest, count=len(pixels), rows=rows)
    return 0


def jpeg(pixels: Tensor, quality: int) -> Tensor:
    """JPEG files of 8-bit images (N, 3, H, W), decoded."""
    return Jpeg().real(pixels, float(quality), torch.Generator())


def decode(
    decoder: Decoder, pixels: Tensor, messages: Tensor, form: str, margin: float
) -> dict[str, float]:
    """Bit accuracy of images (N, 3, R, R), and the fraction that was taken another way round."""
    orienting: Decoder = decoder if math.isinf(margin) else OrientingDecoder(decoder, margin)
    right, wrong = [], 0
    for x, bits in zip(pixels.split(_BATCH), messages.split(_BATCH), strict=True):
        logits, notes = orienting.decode(to_unit(x), torch.ones(len(x)))
        right.append(((logits > 0) == (bits > 0)).float().mean(dim=1))
        wrong += sum(note != form for note in notes)
    return {"bit_accuracy": float(torch.cat(right).mean()), "misread": wrong / len(pixels)}


if __name__ == "__main__":
    sys.exit(run(main, "orientation"))
