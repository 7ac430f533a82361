"""Running of an embedding job: going on after a stop, following the source, the tables."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from artfp.core.errors import UserError, one_line
from artfp.core.run_folder import run_folder
from artfp.data.content import is_unchanged
from artfp.data.files import sync_folders, write_atomic
from artfp.data.hidden_files import remove_leftovers
from artfp.data.naming import DATASET_JSON, output_names, renamed_dataset_json
from artfp.data.predict_module import PredictionData
from artfp.data.resume import Journal, Manifest
from artfp.data.tables import write_tables
from artfp.data.writing import pack_zip, suffix_of
from artfp.ownership.assignment import Fingerprints
from artfp.watermark.embed_job import (
    ARCHIVE_FILE,
    EMBEDDED_LISTING,
    EMBEDDED_TABLE,
    EmbeddingJob,
    records,
)
from artfp.watermark.embed_module import FingerprintEmbedder
from artfp.watermark.prediction_loop import run_prediction
from artfp.watermark.settings import FINGERPRINTED_FOLDER

_COLUMNS = ("name", "output", "width", "height", "psnr", "bits", "error")

_NAMED = 10  # images that a line names

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class EmbeddingResult:
    """Result of an embedding run.

    Attributes:
        written: Number of fingerprinted images in the output folder.
        before: Number of those that an earlier run wrote.
        failed: Names of images that could not be used, with the reasons.
        checked: Mean `bit_accuracy`, `psnr` (dB), `ssim` and visibility of the files, if asked
            for.
        most_visible: Name of the image whose fingerprint is the most visible, if checked.

    Example:
        >>> EmbeddingResult(written=3, before=1, failed=[("a.png", "empty file")]).written
        3
    """

    written: int
    before: int
    failed: list[tuple[str, str]]
    checked: dict[str, float] | None = None
    most_visible: str = ""


def run_embedding(job: EmbeddingJob, fingerprints: Fingerprints) -> EmbeddingResult | None:
    """Write the fingerprinted images, the listing and the table; keep a `dataset.json`.

    A run that was stopped continues with what is missing. Returns None on all processes but the
    first. Raises UserError: the folder holds a run with other settings.
    """
    with run_folder(job.output):
        return _run(job, fingerprints)


def _run(job: EmbeddingJob, fingerprints: Fingerprints) -> EmbeddingResult | None:
    outputs = output_names(job.source.names, suffix_of(job.format))
    images = job.output / FINGERPRINTED_FOLDER
    done: set[str] = set()
    claimed = _settings(job, fingerprints)
    if Manifest.claim(job.output, claimed, "embed", results=f"{FINGERPRINTED_FOLDER}/**/*"):
        if job.trainer.is_global_zero:
            remove_leftovers(job.output)
            remove_leftovers(images, deep=True)
        done = _follow_source(job, outputs)
    data = PredictionData(
        job.source,
        job.geometry,
        job.encoder.resolution,
        job.batch_size,
        job.num_workers,
        keep_full=True,
        done=done,
    )
    if not run_prediction(FingerprintEmbedder(job, fingerprints, outputs), data, job.trainer):
        return None
    written, failed = write_tables(
        records(job.output),
        job.source.names,
        _COLUMNS,
        job.output / EMBEDDED_TABLE,
        job.output / EMBEDDED_LISTING,
        "output",
    )
    if gone := len(job.source.names) - written - len(failed):
        raise UserError(
            f"{images}: {gone} fingerprinted images went away while the run went on; give the "
            "command again"
        )
    unusable = {name for name, _ in failed}
    names = {a: b for a, b in zip(job.source.names, outputs, strict=True) if a not in unusable}
    labels = None
    if job.source.dataset_json is not None:
        labels = renamed_dataset_json(job.source.dataset_json, names)
        write_atomic(images / DATASET_JSON, json.dumps(labels), keep_equal=True)
    else:
        (images / DATASET_JSON).unlink(missing_ok=True)
    archive = job.output / ARCHIVE_FILE
    if job.archive:
        pack_zip(images, list(names.values()), archive, labels)
    elif archive.exists() and len(done) < written:
        _log.warning("removed %s: it holds other images", one_line(str(archive)))
        archive.unlink()
    sync_folders({job.output, images, *((images / name).parent for name in names.values())})
    return EmbeddingResult(written, len(done), failed)


def _follow_source(job: EmbeddingJob, outputs: Sequence[str]) -> set[str]:
    """Return the names of the images that are done; drop what was made of others.

    Others are those that are gone from the source or have changed: their records and fingerprinted
    images are removed, so that none stays in a set that is given away.
    """
    positions = {name: position for position, name in enumerate(job.source.names)}
    images, journal = job.output / FINGERPRINTED_FOLDER, Journal(job.output, "embed")
    done: dict[str, str] = {}
    others: dict[str, str] = {}
    for record in journal.stream():
        if record.get("error") is not None:
            continue
        name, output = record["name"], record["output"]
        position = positions.get(name)
        if position is not None and output == outputs[position]:
            written = (images / output).is_file()
            if written and is_unchanged(job.source, position, record):
                done[name] = record["sha256"]
                continue
        others[output] = name
    if not job.trainer.is_global_zero:
        return set(done)
    for output in others.keys() - {outputs[positions[name]] for name in done}:
        _remove_image(images, output)
    gone = sorted(set(others.values()) - positions.keys())
    if gone:
        shown = ", ".join(map(one_line, gone[:_NAMED])) + (", ..." if len(gone) > _NAMED else "")
        _log.warning("removed the fingerprinted copies of images that are gone: %s", shown)
        (job.output / ARCHIVE_FILE).unlink(missing_ok=True)
    journal.prune(lambda record: done.get(record["name"]) == record.get("sha256", ""))
    return set(done)


def _remove_image(images: Path, output: str) -> None:
    """Remove a fingerprinted image, and the folders that it leaves empty."""
    path = images / output
    if path.resolve().is_relative_to(images.resolve()):
        path.unlink(missing_ok=True)
        with suppress(OSError):
            os.removedirs(path.parent)


def _settings(job: EmbeddingJob, fingerprints: Fingerprints) -> dict[str, object]:
    """Return the settings that must be equal for a run to continue in the same folder."""
    return {
        "source": os.path.abspath(job.source.location),
        "encoder": job.encoder_hash,
        "secret_fingerprint": fingerprints.identity(),
        "geometry": job.geometry.describe(),
        "format": job.format,
        "strength": job.strength,
        "min_psnr": job.min_psnr,
        "batch_size": job.batch_size,
    }
