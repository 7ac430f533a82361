"""Lightning module that embeds fingerprints in batches of images and writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from artfp.core.errors import UserError
from artfp.data.files import write_atomic
from artfp.data.image_files import ImageError, image_errors
from artfp.data.pixels import to_unit
from artfp.data.predict_module import ImageBatch, whole_image
from artfp.data.tables import error_record
from artfp.data.writing import encode_image
from artfp.metrics.fidelity import psnr_8bit, psnr_of_error
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import to_text
from artfp.watermark.embed_job import EmbeddingJob
from artfp.watermark.networks.base import add_residual, images_at_once, limit_psnr, refuse_small
from artfp.watermark.prediction_loop import Prediction
from artfp.watermark.settings import FINGERPRINTED_FOLDER

_LEAST_PSNR = 20.0
"""Decibels over which all weights that work leave images at strength 1."""

_JUDGED = 4
"""Images by which a run is judged, at least: one by itself may be odd."""


class FingerprintEmbedder(Prediction):
    """Embeds batch after batch; images are written by threads."""

    caption = "Embedding"

    def __init__(
        self, job: EmbeddingJob, fingerprints: Fingerprints, outputs: Sequence[str]
    ) -> None:
        super().__init__(job.source.names, job.output, "embed")
        self.encoder, self.job, self.outputs = job.encoder, job, outputs
        self.fingerprints = fingerprints
        self.images = job.output / FINGERPRINTED_FOLDER
        self.judged, self.total_psnr = 0, 0.0

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Fingerprint one batch."""
        messages = np.zeros((len(batch.positions), self.encoder.bits), np.uint8)
        for slot, position in enumerate(batch.positions):
            if not batch.skipped[slot]:
                messages[slot] = self.fingerprints.of_image(self.names[position])
        x = to_unit(batch.small).to(self.dtype)
        bits, count = torch.from_numpy(messages).to(x), images_at_once(x)
        parts = zip(x.split(count), bits.split(count), strict=True)
        residual = torch.cat([self.encoder.residual(*part).float() for part in parts])
        self._check_fidelity(residual, batch)
        residual = limit_psnr(residual * self.job.strength, self.job.min_psnr)
        marked = add_residual(batch.small, residual).permute(0, 2, 3, 1).cpu().numpy()
        originals = batch.small.permute(0, 2, 3, 1).cpu().numpy()
        tasks: list[tuple[Any, ...]] = []
        for slot, position in enumerate(batch.positions):
            if batch.skipped[slot]:
                continue
            if batch.errors[slot] is not None:
                self.journal.append(error_record(self.names[position], str(batch.errors[slot])))
                continue
            small = refuse_small(*batch.sizes[slot], self.encoder.bits, self.encoder.resolution)
            if small:
                self.journal.append(error_record(self.names[position], small))
                continue
            whole = batch.sizes[slot] != tuple(batch.small.shape[-2:])
            pixels = residual[slot : slot + 1] if whole else marked[slot]
            tasks.append((batch, slot, originals[slot], pixels, messages[slot]))
        self.writer.submit(self._write, tasks)

    def _check_fidelity(self, residual: torch.Tensor, batch: ImageBatch) -> None:
        """Stop a run that spoils its images, whatever the strength that was asked for.

        Raises UserError: the mean PSNR at strength 1 is far under that of weights that work.
        """
        used = [not s and e is None for s, e in zip(batch.skipped, batch.errors, strict=True)]
        noise = residual[torch.tensor(used)].square().mean(dim=(1, 2, 3))
        self.judged += len(noise)
        self.total_psnr += sum(map(psnr_of_error, noise.tolist()))
        mean = self.total_psnr / max(1, self.judged)
        spoilt = self.judged >= _JUDGED and max(mean, self.job.min_psnr) < _LEAST_PSNR
        if spoilt or not math.isfinite(mean):
            raise UserError(
                f"the images have a PSNR of {mean:.1f} dB at --strength 1, below "
                f"{_LEAST_PSNR:g}: these weights do not work on them; take other weights, or the "
                "--image_resolution that these were trained at"
            )

    def _write(
        self,
        batch: ImageBatch,
        slot: int,
        original: np.ndarray,
        pixels: np.ndarray | torch.Tensor,
        message: np.ndarray,
    ) -> None:
        """Write one image, its pixels or those of the whole one with this residual.

        Its line in the journal comes first: no file is without a line.
        """
        position, (height, width) = batch.positions[slot], batch.sizes[slot]
        name, output = self.names[position], self.outputs[position]
        with self.writer.budget.hold(height * width):
            try:
                with image_errors():
                    if isinstance(pixels, torch.Tensor):
                        whole = whole_image(batch, slot, self.job.source, self.job.geometry)
                        assert whole is not None  # its size is another
                        original, pixels = whole, _at_size(whole, pixels)
                    if np.array_equal(pixels, original):
                        settings = f"strength {self.job.strength:g}, min_psnr {self.job.min_psnr:g}"
                        raise ImageError(f"the fingerprint changes no pixel: {settings}")
                    encoded = encode_image(pixels, self.job.format, batch.icc[slot])
                    figure = round(psnr_8bit(original, pixels), 3)
            except ImageError as error:
                self.journal.append(error_record(name, str(error)))
                return
        record: dict[str, object] = {"name": name, "output": output}
        record |= {"width": width, "height": height, "psnr": figure, "bits": to_text(message)}
        record |= batch.contents[slot]
        self.journal.append(record)
        write_atomic(self.images / output, encoded)


@torch.inference_mode()
def _at_size(pixels: np.ndarray, residual: torch.Tensor) -> np.ndarray:
    """Return an image (H, W, 3) of any size with a residual (1, 3, h, w) added."""
    image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).to(residual.device)
    return add_residual(image, residual)[0].permute(1, 2, 0).contiguous().cpu().numpy()
