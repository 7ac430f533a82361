"""The forecast of weights on a folder of images."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from artfp import __version__
from artfp.core.errors import UserError
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.files import file_hash, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.reading import Failed, load_images
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.transfer.forecast import LEAST, forecast
from artfp.watermark import load_decoder, load_encoder


def predict(
    images: str,
    encoder_path: str,
    decoder_path: str | None = None,
    resolution: int | None = None,
    count: int = 1024,
    words: int = 8,
    seed: int = 0,
    strength: float = 1.0,
    output: str | None = None,
) -> tuple[list[str], Failed]:
    """The forecast of weights on images, in lines; figures also to a JSON file.

    Args: `resolution` of the generator, None: the encoder's. Raises UserError: too few images.
    """
    encoder, _ = load_encoder(encoder_path)
    name = decoder_path or find_decoder(encoder_path)
    decoder, _ = load_decoder(name)
    if count < LEAST or words < 1:
        raise UserError(f"a forecast needs {LEAST} images and 1 word; found {count} and {words}")
    source = limit_images(open_source(images), count)
    pixels, failed = load_images(source, Geometry(resolution or encoder.resolution), count)
    if len(pixels) < LEAST:
        raise UserError(f"{images} has {len(pixels)} usable images; a forecast needs {LEAST}")
    told = forecast(encoder, decoder, pixels, words, seed, strength)
    if output is not None:
        facts = {
            "artfp": "transfer predict",
            "software": f"artfp {__version__}",
            "encoder": file_hash(find_weights(encoder_path, "encoder")),
            "decoder": file_hash(find_weights(name, "decoder")),
            **asdict(told),
        }
        write_atomic(Path(output), json.dumps(facts, indent=2) + "\n")
    return [
        f"fingerprinted: bit accuracy {told.bit_accuracy:.4f} at {told.psnr:.2f} dB",
        f"forecast after transfer: bit accuracy {told.transplanted:.4f} (worst of {told.words} "
        f"fingerprints {told.worst:.4f})",
        f"with a quarter of the mean residual {told.early:.4f}: compare weights by it, those with "
        "more come through sooner",
        f"{told.constant:.0%} of the residual is the same in all images",
    ], failed
