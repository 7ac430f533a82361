"""Check of a finished embedding: its files are read back, as an auditor would."""

from __future__ import annotations

import math

import numpy as np
import torch

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.decode import decode_image
from artfp.data.image_files import ImageError
from artfp.data.pixels import as_batch
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.visibility_summary import VisibilitySummary
from artfp.ownership.key import parse_fingerprint
from artfp.watermark.api import decode_pixels
from artfp.watermark.embed_job import EmbeddingJob, records
from artfp.watermark.networks.base import Decoder
from artfp.watermark.settings import FINGERPRINTED_FOLDER

_SSIM_SIDE = 11
"""Pixels of the window of SSIM, which smaller images do not have."""


@torch.inference_mode()
def check_embedding(
    job: EmbeddingJob, decoder: Decoder, seen: VisibilitySummary | None = None
) -> dict[str, float]:
    """Read a finished embedding back from its files, as an auditor would.

    Returns the mean `bit_accuracy`, `psnr` (dB) and `ssim` of its images, and the figures of their
    visibility, which `seen` also gets, with the names of the images. The originals are read
    and cropped again; nothing is taken from memory. SSIM is that of the images of 11 pixels a side
    or more, nan if there is none. Raises UserError: there is no image.
    """
    positions = {name: i for i, name in enumerate(job.source.names)}
    sums, counts = np.zeros(3), np.zeros(3)
    seen = VisibilitySummary() if seen is None else seen
    with Progress("Checking", len(positions)) as progress:
        for record in records(job.output):
            position = positions.get(record["name"])
            if position is None or record.get("error") is not None:
                continue
            del positions[record["name"]]  # a stopped run's image may have two records
            progress.advance()
            path = job.output / FINGERPRINTED_FOLDER / record["output"]
            try:
                written = decode_image(path.read_bytes()).pixels
                original = job.geometry(decode_image(job.source.read(position)).pixels)
            except ImageError as error:
                raise UserError(f"{path} or its original cannot be read back: {error}") from error
            embedded = parse_fingerprint(record["bits"], decoder.bits)
            x, y = as_batch(original), as_batch(written)
            sums[:2] += (
                float(np.mean(decode_pixels(decoder, written) == embedded)),
                float(psnr(y, x)),
            )
            counts[:2] += 1
            seen.add(record["name"], original, written)
            if min(written.shape[:2]) >= _SSIM_SIDE:
                sums[2] += float(ssim(y, x))
                counts[2] += 1
    if not counts[0]:
        raise UserError(f"{job.output} holds no fingerprinted image to check")
    means = (float(a / n) if n else math.nan for a, n in zip(sums, counts, strict=True))
    return dict(zip(("bit_accuracy", "psnr", "ssim"), means, strict=True)) | seen.figures()
