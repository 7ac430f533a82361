"""The whole chain on a few photographs that come with scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.bundle import find_weights
from artfp.data.decode import decode_image
from artfp.data.files import file_hash, write_atomic
from artfp.data.pixels import as_batch
from artfp.data.sources import open_source
from artfp.data.writing import encode_image
from artfp.metrics.fidelity import psnr, ssim
from artfp.ownership.assignment import KEY_FILE, draw_fingerprints
from artfp.ownership.key import Key
from artfp.reporting.image_grid import encode_picture, fingerprint_grid
from artfp.stats import log_p_value
from artfp.watermark import Decoder, load_decoder, load_encoder
from artfp.watermark.api import decode_pixels
from artfp.watermark.embed import FINGERPRINTED_FOLDER, EmbeddingJob, run_embedding
from artfp.watermark.prediction_loop import make_trainer

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "camera")
"""Files of scikit-image's wheel: five photographs in colour and one in gray, of all shapes."""

_SUFFIXES = (".png", ".jpg")
_SHOWN_SIDE = 256


@dataclass(frozen=True)
class Row:
    """One photograph: bits matched and ln p, fingerprinted and untouched; PSNR (dB) and SSIM."""

    name: str
    width: int
    height: int
    matches: int
    log_p: float
    matches_untouched: int
    log_p_untouched: float
    psnr: float
    ssim: float


def demo(output: Path, weights: str = "photo128") -> tuple[list[Row], int, Path]:
    """Embed a fresh key's fingerprint in photographs, read it back from the files.

    Writes `photographs/`, the embedding's output and `grid.png` into `output`.
    Returns the rows, the number of bits and the picture's path. Raises UserError if a demo of
    another key is there already.
    """
    encoder, card = load_encoder(weights)
    decoder, _ = load_decoder(weights)
    if (output / KEY_FILE).exists():
        raise UserError(f"{output} holds a demo already; delete it or take another --output_dir")
    photographs = output / "photographs"
    for name in PHOTOGRAPHS:
        write_atomic(photographs / f"{name}.png", encode_image(_photograph(name)))
    source = open_source(photographs)
    words = draw_fingerprints(card["bits"], output, per_image=False)
    digest = file_hash(find_weights(weights, "encoder"))
    run_embedding(
        EmbeddingJob(source, output, encoder, digest, make_trainer(), num_workers=0), words
    )

    word = Key.load(output / KEY_FILE).fingerprint(card["bits"])
    rows, pairs = [], []
    for name in PHOTOGRAPHS:
        before = decode_image((photographs / f"{name}.png").read_bytes()).pixels
        after = decode_image((output / FINGERPRINTED_FOLDER / f"{name}.png").read_bytes()).pixels
        rows.append(_row(name, before, after, decoder, word))
        pairs.append((_square(before), _square(after)))
    originals, marked = (torch.stack(side) for side in zip(*pairs, strict=True))
    picture = output / "grid.png"
    write_atomic(picture, encode_picture(fingerprint_grid(originals, marked)))
    return rows, card["bits"], picture


def _photograph(name: str) -> np.ndarray:
    """Pixels (H, W, 3) of a photograph of scikit-image's wheel."""
    folder = Path(skimage.data.__file__).parent
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return np.array(Image.open(path).convert("RGB"))
    raise UserError(f"scikit-image's photograph {name} is not in {folder}; reinstall scikit-image")


def _row(
    name: str, before: np.ndarray, after: np.ndarray, decoder: Decoder, word: np.ndarray
) -> Row:
    """Figures of one photograph, from pixels as read from disk."""
    x, y = as_batch(before), as_batch(after)
    counts = [int((decode_pixels(decoder, pixels) == word).sum()) for pixels in (after, before)]
    return Row(
        name,
        before.shape[1],
        before.shape[0],
        counts[0],
        float(log_p_value(counts[0], len(word))),
        counts[1],
        float(log_p_value(counts[1], len(word))),
        float(psnr(y, x)),
        float(ssim(y, x)),
    )


def _square(pixels: np.ndarray) -> torch.Tensor:
    """The centre of a photograph at its own scale, (3, 256, 256) in [0, 1]."""
    top, left = ((length - _SHOWN_SIDE) // 2 for length in pixels.shape[:2])
    return as_batch(pixels[top : top + _SHOWN_SIDE, left : left + _SHOWN_SIDE])[0]
