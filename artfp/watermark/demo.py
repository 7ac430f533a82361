"""The whole chain on a few photographs that come with scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch

from artfp.core.errors import UserError
from artfp.core.progress import track
from artfp.core.run_folder import exclusive, lock_folder
from artfp.data.bundle import find_weights
from artfp.data.decode import decode_image
from artfp.data.files import write_atomic
from artfp.data.paths import file_hash
from artfp.data.pixels import as_batch
from artfp.data.sources import open_source
from artfp.data.writing import encode_image
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.visibility_summary import VisibilitySummary, describe_visibility
from artfp.ownership.assignment import draw_fingerprints
from artfp.reporting.image_grid import encode_picture, fingerprint_grid
from artfp.watermark.api import Watermark
from artfp.watermark.embed_job import EmbeddingJob
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.prediction_loop import make_trainer
from artfp.watermark.settings import FINGERPRINTED_FOLDER, DemoSettings

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "camera")
"""Files of scikit-image's wheel: five photographs in colour and one in gray, of all shapes."""

_SUFFIXES = (".png", ".jpg")
_SHOWN_SIDE = 256
_SHOWN_FROM = {"astronaut": (0, 96), "camera": (24, 112)}
"""Top and left of what is shown of portraits, with their heads; else it is the centre."""


@dataclass(frozen=True)
class DemoRow:
    """One photograph: bits matched and ln p, fingerprinted and untouched; what is seen of it.

    That is PSNR (dB), SSIM, the 95th percentile of S-CIELAB at 60 and at 20 pixels a degree, and
    the fraction of pixels over 2 at 60.
    """

    name: str
    width: int
    height: int
    matches: int
    log_p: float
    matches_untouched: int
    log_p_untouched: float
    psnr: float
    ssim: float
    scielab_p95_60: float
    scielab_p95_20: float
    scielab_over2_60: float


@dataclass(frozen=True)
class DemoResult:
    """Result of the demonstration.

    Attributes:
        rows: Figures of each photograph.
        bits: Number of bits of the fingerprint.
        picture: File with the originals, the fingerprinted images and their differences.
        visibility: What is seen of the fingerprints of all photographs, in a line.
    """

    rows: list[DemoRow]
    bits: int
    picture: Path
    visibility: str


@exclusive
def run_demo(settings: DemoSettings) -> DemoResult:
    """Embed the fingerprint of a key in photographs, and decode it from the files.

    Writes `photographs/`, the results of the embedding and `grid.png` into `settings.output_dir`.
    The key is drawn, unless an earlier demonstration left one there.

    Args:
        settings: Folder and weights.

    Returns:
        Figures of each photograph, and the picture.

    Raises:
        UserError: there are no such weights, or the folder holds a run with other settings.
    """
    output, weights = settings.output_dir, settings.weights
    watermark = Watermark.load(weights)
    lock_folder(output)
    photographs = output / "photographs"
    for name in PHOTOGRAPHS:
        pixels = encode_image(_photograph(name))
        write_atomic(photographs / f"{name}.png", pixels, keep_equal=True)
    source = open_source(photographs)
    drawn = draw_fingerprints(watermark.bits, output, per_image=False)
    encoder_hash = file_hash(find_weights(weights, "encoder"))
    job = EmbeddingJob(
        source, output, watermark.encoder, encoder_hash, make_trainer(), num_workers=0
    )
    run_embedding(job, drawn)

    rows, originals, marked = [], [], []
    together = VisibilitySummary()
    for name in track(PHOTOGRAPHS, caption="Decoding"):
        before = decode_image((photographs / f"{name}.png").read_bytes()).pixels
        after = decode_image((output / FINGERPRINTED_FOLDER / f"{name}.png").read_bytes()).pixels
        seen = together.add(name, before, after)
        rows.append(_row(name, before, after, watermark, drawn.of_image(name), seen))
        originals.append(_square(name, before))
        marked.append(_square(name, after))
    picture = output / "grid.png"
    grid = fingerprint_grid(torch.stack(originals), torch.stack(marked))
    write_atomic(picture, encode_picture(grid))
    line = describe_visibility(together.figures(), together.worst)
    return DemoResult(rows, watermark.bits, picture, line)


def _photograph(name: str) -> np.ndarray:
    """Return the pixels (H, W, 3) of a photograph of scikit-image's wheel."""
    folder = Path(skimage.data.__file__).parent
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return decode_image(path.read_bytes()).pixels
    raise UserError(f"scikit-image's photograph {name} is not in {folder}; reinstall scikit-image")


def _row(
    name: str,
    before: np.ndarray,
    after: np.ndarray,
    watermark: Watermark,
    fingerprint: np.ndarray,
    seen: dict[str, float],
) -> DemoRow:
    """Return the figures of one photograph, from pixels as read from disk."""
    x, y = as_batch(before), as_batch(after)
    found, untouched = (watermark.detect(pixels, fingerprint) for pixels in (after, before))
    return DemoRow(
        name=name,
        width=before.shape[1],
        height=before.shape[0],
        matches=found.matches,
        log_p=found.log_p,
        matches_untouched=untouched.matches,
        log_p_untouched=untouched.log_p,
        psnr=float(psnr(y, x)),
        ssim=float(ssim(y, x)),
        scielab_p95_60=seen["scielab_p95_60"],
        scielab_p95_20=seen["scielab_p95_20"],
        scielab_over2_60=seen["scielab_over2_60"],
    )


def _square(name: str, pixels: np.ndarray) -> torch.Tensor:
    """Return a part of a photograph at its own scale, (3, 256, 256) in [0, 1]."""
    centre = ((pixels.shape[0] - _SHOWN_SIDE) // 2, (pixels.shape[1] - _SHOWN_SIDE) // 2)
    top, left = _SHOWN_FROM.get(name, centre)
    return as_batch(pixels[top : top + _SHOWN_SIDE, left : left + _SHOWN_SIDE])[0]
