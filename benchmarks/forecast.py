"""Does the forecast of transfer come true? It beside what generators' images read, over many pairs.

    artfp transfer study dcgan --data_dir CIFAR --encoder_path cifar32 --strength 0.5 \
        --output_dir half --max_steps 750 --clean_seeds 0
    python benchmarks/forecast.py --data_dir CIFAR --pair half cifar32 --pair ... --output .../forecast.json

A pair is a transfer study and the encoder that it was made with. Told are the forecast, bit accuracy of
transplants with the whole mean residual and with a quarter of it; what the study's last generator
made; and their correlations with it, Pearson's and Spearman's.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import report
from rich.table import Table
from scipy import stats

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.geometry import Geometry
from artfp.data.paths import file_hash
from artfp.data.reading import load_images
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.transfer.forecast import forecast
from artfp.transfer.table import STUDY_FILE, read_family
from artfp.watermark import load_decoder, load_encoder


def main(argv: Sequence[str] | None = None) -> int:
    """Forecast, compare, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="images like those of the studies")
    parser.add_argument("--pair", action="append", nargs=2, required=True,
                        metavar=("STUDY", "ENCODER"))  # fmt: skip
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--words", type=int, default=4, help="random fingerprints of a forecast")
    parser.add_argument("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    if len(args.pair) < 3:
        raise UserError(f"--pair: found {len(args.pair)}; a correlation takes three or more")
    rows = [_row(*pair, args) for pair in args.pair]
    found = {}
    for told in ("forecast", "early"):
        pairs = [row[told] for row in rows], [row["read"] for row in rows]
        found[f"pearson of {told}"] = float(stats.pearsonr(*pairs).statistic)
        found[f"spearman of {told}"] = float(stats.spearmanr(*pairs).statistic)
    table = Table(*(name for name in rows[0] if name != "encoder"))
    for row in rows:
        table.add_row(
            *(
                f"{v:.4f}" if isinstance(v, float) else str(v)
                for k, v in row.items()
                if k != "encoder"
            )
        )
    console().print(table)
    console().print(", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    if args.output:
        report.write(args.output, images=args.images, words=args.words, **found, rows=rows)
    return 0


def _row(study: str, name: str, args: argparse.Namespace) -> dict[str, object]:
    family = read_family(study)
    facts = json.loads((Path(study) / STUDY_FILE).read_text())
    digest = file_hash(find_weights(name, "encoder"))
    if digest != facts["encoder"]:
        raise UserError(f"{study} was not made with {name}: its encoder's hash is another")
    encoder, _ = load_encoder(name)
    decoder, _ = load_decoder(find_decoder(name))
    source = limit_images(open_source(args.data_dir), args.images)
    pixels, _ = load_images(source, Geometry(family.resolution), args.images)
    told = forecast(encoder, decoder, pixels, args.words, strength=facts["strength"])
    return {
        "weights": Path(name).parent.name if Path(name).suffix else name,
        "strength": float(facts["strength"]),
        "generator": family.model,
        "steps": family.steps,
        "psnr": family.psnr,
        "in data": float(facts["in_data"]["read"]["bit_accuracy"]),
        "forecast": told.transplanted,
        "early": told.early,
        "read": family.bit_accuracy,
        "encoder": digest,
    }


if __name__ == "__main__":
    sys.exit(run(main, "forecast.py"))
