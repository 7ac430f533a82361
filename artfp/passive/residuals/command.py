"""`artfp denoiser`: train the denoiser of the extractor `learned`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import console, make_parser
from artfp.core.common import prepare

DESCRIPTION = """\
Train a small network to find Gaussian noise of 1 to 10 grey levels in your images. What it then
finds in an image is a noise residual, beside those of the wavelet and the other filters: extractor
learned. A denoiser comes with artfp; train another where your images are of another kind.

Folders (at any depth), zips, or lists of image paths will do, of images of any size. The result's
card says what PSNR it leaves on images that were set aside."""

EPILOG = """\
examples:
  artfp denoiser --data_dir photos/ --output denoiser.safetensors
  then take learned:weights=denoiser.safetensors where an extractor is asked for

exit codes: 0 trained, 2 bad input, 130 interrupted (nothing is kept: it takes minutes)"""


def _parser() -> Any:
    parser = make_parser("artfp denoiser", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--data_dir", required=True, nargs="+", help="Folders, zips or lists; taken in turns.")
    add("--output", required=True, metavar="FILE.safetensors", help="File for the weights.")
    add("--limit", type=int, help="Images of each folder, at most.")
    add("--max_steps", type=int, default=5000, help="Steps of training.")
    add("--batch_size", type=int, default=3, help="Patches of 96 pixels a step; more of smaller.")
    add("--lr", type=float, default=5e-3, help="Learning rate at its peak.")
    add("--width", type=int, default=16, help="Channels of the network's layers.")
    add("--seed", type=int, default=0, help="Decides weights and draws.")
    add("--precision", default="32-true", help="As Lightning's Trainer names it: bf16-mixed, ...")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare()

    from rich.table import Table

    from artfp.passive.residuals.denoiser_training import DenoiserTraining, train_denoiser

    options = {name: value for name, value in vars(args).items() if name != "config"}
    options["output"] = Path(args.output)
    settings = DenoiserTraining(**options, progress=sys.stderr.isatty())
    words = list(sys.argv[2:] if argv is None else argv)
    # A card travels with the weights: it names the data, not where they lie on this machine.
    for path in (*args.data_dir, args.output):
        words = [word.replace(path, Path(path).name) for word in words]
    card = train_denoiser(settings, shlex.join(["artfp", "denoiser", *words]))
    for name, figures in card["measured"].items():
        images = figures["images"]
        rows = {noise: each for noise, each in figures.items() if noise != "images"}
        title = f"{name}: {images} images that were set aside"
        table = Table("PSNR in dB", *next(iter(rows.values())), title=title)
        for noise, each in rows.items():
            table.add_row(noise, *(f"{value:.2f}" for value in each.values()))
        console().print(table)
    print(f"wrote {args.output}")
    return 0
