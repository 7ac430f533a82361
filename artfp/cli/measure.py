"""`artfp measure`: fidelity and bit accuracy of weights on images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from artfp.cli.base import console, make_parser
from artfp.cli.common import prepare, report_failed
from artfp.errors import UserError

DESCRIPTION = """\
Measure an encoder and its decoder on images: each gets a random fingerprint, becomes a PNG file,
is read back, perturbed and decoded. Prints PSNR, SSIM and bit accuracies, and writes JSON."""

EPILOG = """\
examples:
  artfp measure --encoder_path photo128 --data_dir photos/ --image_resolution 128
  artfp measure --encoder_path photo128 --data_dir photos/ --sizes 320x240,1920x1080

exit codes: 0 measured, 1 some images could not be used, 2 bad input"""


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
    prepare()
    from rich.table import Table

    from artfp.data.geometry import Geometry, fit_shape
    from artfp.data.sources import open_source
    from artfp.data.training import split
    from artfp.data.writing import write_atomic
    from artfp.evaluation.measure import measure
    from artfp.models import file_hash, load_decoder, load_encoder, locate
    from artfp.models.bundle import partner

    sizes = _sizes(args.sizes)
    encoder, _ = load_encoder(args.encoder_path)
    decoder_path = args.decoder_path or partner(args.encoder_path)
    decoder, _ = load_decoder(decoder_path)
    source = open_source(args.data_dir)
    indices = split(source.names)[1] if args.validation_only else list(range(len(source)))
    indices = indices[: args.limit]
    geometry = Geometry(args.image_resolution)
    failed: dict[str, str] = {}

    def images(size: tuple[int, int] | None) -> Iterator[Any]:
        from artfp.data.decode import ImageError, decode_image

        for index in indices:
            try:
                pixels = geometry(decode_image(source.read(index)).pixels)
            except ImageError as error:
                failed[source.names[index]] = str(error)
                continue
            yield pixels if size is None else fit_shape(pixels, size)

    results = {}
    for size in sizes:
        label = "own size" if size is None else f"{size[1]}x{size[0]}"
        try:
            results[label] = measure(encoder, decoder, images(size))
        except ValueError as error:
            raise UserError(f"{args.data_dir}: {error}") from error
    table = Table("figure", *results)
    for name in next(iter(results.values())):
        table.add_row(name, *(f"{figures[name]:.4f}" for figures in results.values()))
    console().print(table)
    if args.output:
        whole = {
            "encoder": file_hash(locate(args.encoder_path, "encoder")),
            "decoder": file_hash(locate(decoder_path, "decoder")),
            "data": Path(args.data_dir).name,
            "image_resolution": args.image_resolution,
            "validation_only": args.validation_only,
            "figures": results,
        }
        write_atomic(Path(args.output), json.dumps(whole, indent=2) + "\n")
    return report_failed(list(failed.items()))


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
