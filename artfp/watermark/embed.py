"""Fingerprint every image of a source."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.files import remove_leftovers, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.naming import output_names, renamed_dataset_json
from artfp.data.pixels import as_batch, to_unit
from artfp.data.predict_module import ImageBatch, PredictionData
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource
from artfp.data.tables import error_record, write_tables
from artfp.data.writing import encode_image, pack_zip, suffix_of
from artfp.metrics.fidelity import psnr, psnr_8bit, ssim
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import parse_fingerprint, to_text
from artfp.watermark import Decoder, Encoder
from artfp.watermark.api import decode_pixels
from artfp.watermark.networks.base import add_residual, limit_psnr
from artfp.watermark.prediction_loop import Prediction, run_prediction

FINGERPRINTED_FOLDER = "fingerprinted_images"
EMBEDDED_LISTING = "embedded_fingerprints.txt"
EMBEDDED_TABLE = "embedded_fingerprints.csv"
ARCHIVE_FILE = "fingerprinted_images.zip"
_COLUMNS = ("name", "output", "width", "height", "psnr", "bits", "error")


@dataclass(frozen=True)
class EmbeddingJob:
    """What decides an embedding run, beside the fingerprints.

    `encoder_hash` names the weights; `strength` is a factor on what they add; `min_psnr` (dB) is
    what no image may fall under, 0 for no limit; `trainer` is `make_trainer`'s. Raises UserError on
    what cannot be: a number, a format, labels of a form that is not StyleGAN's, an output that
    would be found among the source's images by the next run.
    """

    source: ImageSource
    output: Path
    encoder: Encoder
    encoder_hash: str
    trainer: pl.Trainer
    geometry: Geometry = field(default_factory=Geometry)
    format: str = "png"
    strength: float = 1.0
    min_psnr: float = 0.0
    batch_size: int = 32
    num_workers: int | None = None
    archive: bool = False

    def __post_init__(self) -> None:
        suffix_of(self.format)
        if not 0.0 < self.strength <= 10.0:
            raise UserError(f"strength is {self.strength}; give a factor above 0, at most 10")
        if not 0.0 <= self.min_psnr <= 100.0:
            raise UserError(f"min_psnr is {self.min_psnr}; give decibels from 0 (no limit) to 100")
        if self.batch_size < 1:
            raise UserError(f"batch size is {self.batch_size}; it must be 1 or more")
        if self.num_workers is not None and self.num_workers < 0:
            raise UserError(f"number of workers is {self.num_workers}; it must be 0 or more")
        if self.source.dataset_json is not None:
            renamed_dataset_json(self.source.dataset_json, {})
        source, images = (
            os.path.realpath(p) for p in (self.source.location, self.output / FINGERPRINTED_FOLDER)
        )
        if os.path.isdir(source) and Path(images).is_relative_to(source):
            raise UserError(
                f"{self.output} lies in the folder of the images, {self.source.location}; "
                "choose an output folder outside"
            )


@dataclass(frozen=True)
class EmbeddingResult:
    """How an embedding run ended: images written (now and before), before, and unusable ones."""

    written: int
    before: int
    failed: list[tuple[str, str]]


def run_embedding(job: EmbeddingJob, words: Fingerprints) -> EmbeddingResult | None:
    """Write the fingerprinted images, the listing and the table; keep a `dataset.json`.

    A run that was stopped goes on with what is missing. Returns None on all processes but the
    first. Raises UserError on a folder that holds a run with other settings.
    """
    outputs = output_names(job.source.names, suffix_of(job.format))
    images = job.output / FINGERPRINTED_FOLDER
    if Manifest.claim(job.output, _settings(job, words), "embed") and job.trainer.is_global_zero:
        remove_leftovers(job.output)
        remove_leftovers(images, deep=True)
    done = {record["name"] for record in records(job.output) if record.get("error") is None}
    data = PredictionData(
        job.source,
        job.geometry,
        job.encoder.resolution,
        job.batch_size,
        job.num_workers,
        keep_full=True,
        done=done,
    )
    if not run_prediction(_Embedder(job, words, outputs), data, job.trainer):
        return None
    written, failed = write_tables(
        records(job.output),
        job.source.names,
        _COLUMNS,
        job.output / EMBEDDED_TABLE,
        job.output / EMBEDDED_LISTING,
        "output",
    )
    unusable = {name for name, _ in failed}
    names = {a: b for a, b in zip(job.source.names, outputs, strict=True) if a not in unusable}
    labels = None
    if job.source.dataset_json is not None:
        labels = renamed_dataset_json(job.source.dataset_json, names)
        write_atomic(images / "dataset.json", json.dumps(labels), keep_equal=True)
    if job.archive:
        pack_zip(images, list(names.values()), job.output / ARCHIVE_FILE, labels)
    return EmbeddingResult(written, len(done), failed)


def records(output: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an output folder, but for those of images that are not there."""
    for record in Journal(output, "embed").stream():
        if (
            record.get("error") is not None
            or (output / FINGERPRINTED_FOLDER / record["output"]).is_file()
        ):
            yield record


def _settings(job: EmbeddingJob, words: Fingerprints) -> dict[str, object]:
    """What must be equal for a run to go on in the same folder."""
    return {
        "source": os.path.abspath(job.source.location),
        "encoder": job.encoder_hash,
        "secret_fingerprint": words.identity(),
        "geometry": job.geometry.describe(),
        "format": job.format,
        "strength": job.strength,
        "min_psnr": job.min_psnr,
        "batch_size": job.batch_size,
    }


class _Embedder(Prediction):
    """Embeds batch after batch; images are written by threads."""

    caption = "Embedding"

    def __init__(self, job: EmbeddingJob, words: Fingerprints, outputs: Sequence[str]) -> None:
        super().__init__(job.source.names, job.output, "embed")
        self.encoder, self.job, self.words, self.outputs = job.encoder, job, words, outputs
        self.images = job.output / FINGERPRINTED_FOLDER

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Fingerprint one batch."""
        words = np.zeros((len(batch.positions), self.encoder.bits), np.uint8)
        for slot, position in enumerate(batch.positions):
            if not batch.skipped[slot]:
                words[slot] = self.words.of_image(self.names[position])
        x = to_unit(batch.small).to(self.dtype)
        residual = self.encoder.residual(x, torch.from_numpy(words).to(x)).float()
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
            full = batch.full[slot]
            if full is None:
                original, pixels = originals[slot], marked[slot]
            else:
                original = full
                pixels = _at_size(full, residual[slot : slot + 1])
            tasks.append((position, original, pixels, words[slot], batch.icc[slot]))
        self.writer.submit(self._write, tasks)

    def _write(
        self,
        position: int,
        original: np.ndarray,
        pixels: np.ndarray,
        word: np.ndarray,
        icc: bytes | None,
    ) -> None:
        """Encode and write one image. The journal comes first: a file without a line cannot be."""
        name, output = self.names[position], self.outputs[position]
        try:
            encoded = encode_image(pixels, self.job.format, icc)
        except ValueError as error:
            self.journal.append(error_record(name, str(error)))
            return
        record: dict[str, object] = {"name": name, "output": output}
        record |= {"width": pixels.shape[1], "height": pixels.shape[0]}
        record |= {"psnr": round(psnr_8bit(original, pixels), 3), "bits": to_text(word)}
        self.journal.append(record)
        write_atomic(self.images / output, encoded)


def _at_size(pixels: np.ndarray, residual: torch.Tensor) -> np.ndarray:
    """An image (H, W, 3) of any size with a residual (1, 3, h, w) spread over it."""
    image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).to(residual.device)
    return add_residual(image, residual)[0].permute(1, 2, 0).contiguous().cpu().numpy()


_SSIM_SIDE = 11
"""Pixels of the window of SSIM, which smaller images do not have."""


@torch.inference_mode()
def check_embedding(job: EmbeddingJob, decoder: Decoder) -> dict[str, float]:
    """Mean `bit_accuracy`, `psnr` (dB) and `ssim` of the images of a finished run.

    The originals are read and cut again; nothing is taken from memory. SSIM is that of the images
    of 11 pixels a side or more, nan if there is none. Raises UserError if there is no image.
    """
    positions = {name: i for i, name in enumerate(job.source.names)}
    sums, counts = np.zeros(3), np.zeros(3)
    for record in records(job.output):
        position = positions.get(record["name"])
        if position is None or record.get("error") is not None:
            continue
        del positions[record["name"]]  # a killed run's image may have two records
        path = job.output / FINGERPRINTED_FOLDER / record["output"]
        try:
            written = decode_image(path.read_bytes()).pixels
            source = decode_image(job.source.read(position)).pixels
            original = job.geometry(source)
        except ImageError as error:
            raise UserError(f"{path} or its original cannot be read back: {error}") from error
        word = parse_fingerprint(record["bits"], decoder.bits)
        right = float(np.mean(decode_pixels(decoder, written) == word))
        x, y = as_batch(original), as_batch(written)
        sums[:2] += right, float(psnr(y, x))
        counts[:2] += 1
        if min(written.shape[:2]) >= _SSIM_SIDE:
            sums[2] += float(ssim(y, x))
            counts[2] += 1
    if not counts[0]:
        raise UserError(f"{job.output} holds no fingerprinted image to check")
    means = (float(a / n) if n else math.nan for a, n in zip(sums, counts, strict=True))
    return dict(zip(("bit_accuracy", "psnr", "ssim"), means, strict=True))
