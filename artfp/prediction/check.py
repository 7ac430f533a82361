"""Read a finished embedding back from its files, as an auditor would."""

from __future__ import annotations

import numpy as np
import torch

from artfp.data.decode import ImageError, decode_image
from artfp.data.pixels import as_batch
from artfp.errors import UserError
from artfp.evaluation.fidelity import psnr, ssim
from artfp.fingerprint import parse
from artfp.models import Decoder, read_image
from artfp.prediction.embed import IMAGES, Embedding, records


@torch.inference_mode()
def check(job: Embedding, decoder: Decoder) -> dict[str, float]:
    """Mean `bit_accuracy`, `psnr` (dB) and `ssim` of the images of a finished run.

    The originals are read and cut again; nothing is taken from memory. Raises UserError if there
    is no image.
    """
    positions = {name: i for i, name in enumerate(job.source.names)}
    sums, count = np.zeros(3), 0
    for record in records(job.output):
        position = positions.get(record["name"])
        if position is None or record.get("error") is not None:
            continue
        del positions[record["name"]]  # a killed run's image may have two records
        path = job.output / IMAGES / record["output"]
        try:
            written = decode_image(path.read_bytes()).pixels
            source = decode_image(job.source.read(position)).pixels
            original = job.geometry(source)
        except ImageError as error:
            raise UserError(f"{path} or its original cannot be read back: {error}") from error
        word = parse(record["bits"], decoder.bits)
        right = float(np.mean(read_image(decoder, written) == word))
        x, y = as_batch(original), as_batch(written)
        sums += (right, float(psnr(y, x)), float(ssim(y, x)))
        count += 1
    if not count:
        raise UserError(f"{job.output} holds no fingerprinted image to check")
    means = sums / count
    return {"bit_accuracy": means[0], "psnr": means[1], "ssim": means[2]}
