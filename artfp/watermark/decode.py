"""Decode every image of a source, and compare the bits with a fingerprint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from artfp.core.run_folder import run_folder
from artfp.data.content import is_unchanged
from artfp.data.geometry import Geometry
from artfp.data.hidden_files import remove_leftovers
from artfp.data.pixels import to_unit
from artfp.data.predict_module import ImageBatch, PredictionData
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource
from artfp.data.tables import error_record, write_tables
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import to_text
from artfp.stats import format_p, log_p_value
from artfp.watermark import Decoder
from artfp.watermark.networks.base import images_at_once
from artfp.watermark.networks.realigning import realigns, take_surer_pictures
from artfp.watermark.prediction_loop import Prediction, run_prediction
from artfp.watermark.records import (
    Records,
    embedded_names,
    latest_records,
    pack_logits,
)

DETECTED_LISTING = "detected_fingerprints.txt"
DETECTED_TABLE = "detected_fingerprints.csv"
_COLUMNS = ("name", "embedded", "width", "height", "realigned", "bits")
COMPARED_COLUMNS = ("matches", "bit_accuracy", "p_value", "log10_p")
OWNER_COLUMNS = ("owner", "subject", "entry")

Examine = Callable[[Records], Mapping[str, Mapping[str, object]]]


@dataclass(frozen=True)
class DecodingJob:
    """Images, decoder and options of a decoding run.

    Args:
        source: Images.
        output: Folder for the results.
        decoder: Decoder.
        decoder_hash: Hash of its file, by which a run that goes on knows it.
        trainer: Trainer of `make_trainer`.
        fingerprints: Fingerprint to compare with, if any.
        geometry: Crop and resize of the images.
        batch_size: Images that the network sees at once.
        num_workers: Loader processes; None: as many as CPUs.
        examine: Function that gets one record of every image before the tables are written, and
            returns further values by image and by one of `columns`; where it raises, nothing that
            was decoded is lost.
        columns: Names of the further columns.
    """

    source: ImageSource
    output: Path
    decoder: Decoder
    decoder_hash: str
    trainer: pl.Trainer
    fingerprints: Fingerprints | None = None
    geometry: Geometry = field(default_factory=Geometry)
    batch_size: int = 32
    num_workers: int | None = None
    examine: Examine | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class DecodingResult:
    """Result of a decoding run.

    Attributes:
        decoded: Number of images decoded.
        failed: Names of images that could not be used, with the reasons.
        matches: Number of bits that match in each image, if they were compared, (N,).
    """

    decoded: int
    failed: list[tuple[str, str]]
    matches: np.ndarray | None


def run_decoding(job: DecodingJob) -> DecodingResult | None:
    """Decode the images of a job; write the listing and the table of their bits.

    A run that was stopped continues with what is missing; a finished one begins anew. Returns None
    on all processes but the first.
    """
    with run_folder(job.output):
        return _run(job)


def _run(job: DecodingJob) -> DecodingResult | None:
    journal, done = Journal(job.output, "detect"), set()
    if Manifest.claim(job.output, _settings(job), "detect"):
        if job.trainer.is_global_zero:
            remove_leftovers(job.output)
        done = _follow_source(job, journal)
    data = PredictionData(
        job.source,
        job.geometry,
        job.decoder.resolution,
        job.batch_size,
        job.num_workers,
        done=done,
        find_borders=realigns(job.decoder),
    )
    if not run_prediction(_Detector(job), data, job.trainer):
        return None
    more: Mapping[str, Mapping[str, object]] = {}
    if job.examine is not None:
        more = job.examine(lambda: latest_records(journal.stream, job.source.names))
    embedded = embedded_names(job.source.location, job.source.names)
    columns = (*_COLUMNS, *(COMPARED_COLUMNS if job.fingerprints else ()), *job.columns, "error")
    decoded, failed = write_tables(
        (
            record | dict(more.get(name, {})) | {"embedded": embedded.get(name, name)}
            for record in journal.stream()
            if (name := record["name"])
        ),
        job.source.names,
        columns,
        job.output / DETECTED_TABLE,
        job.output / DETECTED_LISTING,
        "embedded",
    )
    matches = None
    if job.fingerprints:
        known = set(job.source.names)
        counts = {r["name"]: r["matches"] for r in journal.stream() if "matches" in r}
        matches = np.array([n for name, n in counts.items() if name in known], np.int64)
    journal.remove()
    (job.output / "detect.run.json").unlink(missing_ok=True)
    return DecodingResult(decoded, failed, matches)


def _follow_source(job: DecodingJob, journal: Journal) -> set[str]:
    """Return the names of the images that are done; drop the records of all others.

    Others are gone from the source, or have changed, or could not be used.
    """
    positions = {name: position for position, name in enumerate(job.source.names)}
    done = {}
    for record in journal.stream():
        position = positions.get(record["name"])
        if position is None or "logits" not in record:
            continue
        if is_unchanged(job.source, position, record):
            done[record["name"]] = record["sha256"]
    if job.trainer.is_global_zero:
        journal.prune(lambda record: done.get(record["name"]) == record.get("sha256", ""))
    return set(done)


def _settings(job: DecodingJob) -> dict[str, object]:
    """Return the settings that must be equal for a stopped run to continue."""
    return {
        "source": os.path.abspath(job.source.location),
        "decoder": job.decoder_hash,
        "realign": realigns(job.decoder),
        "secret_fingerprint": job.fingerprints.identity() if job.fingerprints else None,
        "geometry": job.geometry.describe(),
        "batch_size": job.batch_size,
    }


class _Detector(Prediction):
    """Decodes batch after batch."""

    caption = "Decoding"

    def __init__(self, job: DecodingJob) -> None:
        super().__init__(job.source.names, job.output, "detect")
        self.decoder, self.job = job.decoder, job

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Decode one batch and note each result."""
        slots = []
        for slot, position in enumerate(batch.positions):
            error = batch.errors[slot]
            if error is not None and not batch.skipped[slot]:
                self.journal.append(error_record(self.names[position], error))
            elif not batch.skipped[slot]:
                slots.append(slot)
        if not slots:
            return
        aspects = torch.tensor([batch.sizes[slot][0] / batch.sizes[slot][1] for slot in slots])
        x = to_unit(batch.small[slots]).to(self.dtype)
        logits, notes = self._decode(x, aspects)
        if batch.pictures is not None:
            shapes = torch.tensor([(b - a) / (d - c) for a, b, c, d in batch.boxes])
            found = self._decode(to_unit(batch.pictures).to(self.dtype), shapes)
            whose = [slots.index(slot) for slot in batch.framed]
            logits, notes = take_surer_pictures((logits, notes), found, whose, batch.boxes)
        values = logits.to("cpu", torch.float32).numpy()
        decoded = (values > 0).astype(np.uint8)
        for slot, row, bits, note in zip(slots, values, decoded, notes, strict=True):
            name = self.names[batch.positions[slot]]
            if np.isnan(row).any():
                self.journal.append(error_record(name, "the decoder's output is not a number"))
                continue
            height, width = batch.sizes[slot]
            record: dict[str, object] = {"name": name, "width": width, "height": height}
            record["realigned"] = note
            if batch.composited[slot]:
                record["composited"] = True
            record["bits"] = to_text(bits)
            record["logits"] = pack_logits(row)
            content = batch.contents[slot]
            self.journal.append(record | self._compare(name, bits) | content)

    def _decode(self, x: torch.Tensor, aspects: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
        """Decode images in parts that the processor's cache holds, see `images_at_once`."""
        count = images_at_once(x)
        parts = zip(x.split(count), aspects.split(count), strict=True)
        found = [self.decoder.decode(*part) for part in parts]
        return torch.cat([logits for logits, _ in found]), [n for _, part in found for n in part]

    def _compare(self, name: str, bits: np.ndarray) -> dict[str, object]:
        """Return the matches with the fingerprint, and their p-value."""
        if self.job.fingerprints is None:
            return {}
        matches = int((bits == self.job.fingerprints.of_image(name)).sum())
        log_p = float(log_p_value(matches, len(bits)))
        return {
            "matches": matches,
            "bit_accuracy": matches / len(bits),
            "p_value": format_p(log_p),
            "log10_p": round(log_p / np.log(10.0), 4),
        }
