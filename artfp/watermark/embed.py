"""Fingerprint every image of a source."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from artfp.core.errors import UserError, one_line
from artfp.core.processes import await_first, first_process
from artfp.core.progress import Progress
from artfp.core.run_folder import exclusive, run_folder
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.content import is_unchanged
from artfp.data.decode import ImageError, decode_image, image_errors
from artfp.data.files import file_hash, remove_leftovers, sync_folders, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.naming import DATASET_JSON, check_labels, output_names, renamed_dataset_json
from artfp.data.pixels import as_batch, to_unit
from artfp.data.predict_module import ImageBatch, PredictionData, whole_image
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource, open_source
from artfp.data.tables import error_record, write_tables
from artfp.data.writing import encode_image, pack_zip, suffix_of
from artfp.metrics.fidelity import psnr, psnr_8bit, psnr_of_error, ssim
from artfp.ownership.assignment import (
    KEY_FILE,
    Fingerprints,
    draw_fingerprints,
)
from artfp.ownership.key import owner_context, parse_fingerprint, to_text
from artfp.watermark.api import decode_pixels
from artfp.watermark.networks.base import (
    Decoder,
    Encoder,
    add_residual,
    images_at_once,
    limit_psnr,
    refuse_small,
)
from artfp.watermark.prediction_loop import Prediction, make_trainer, run_prediction
from artfp.watermark.samples import sample_pictures
from artfp.watermark.settings import FINGERPRINTED_FOLDER, EmbedSettings, check_outside
from artfp.watermark.weights import (
    check_fingerprint_size,
    check_same_bits,
    load_decoder,
    load_encoder,
)

EMBEDDED_LISTING = "embedded_fingerprints.txt"
EMBEDDED_TABLE = "embedded_fingerprints.csv"
ARCHIVE_FILE = "fingerprinted_images.zip"
_COLUMNS = ("name", "output", "width", "height", "psnr", "bits", "error")

_NAMED = 10  # images that a line names

_SSIM_SIDE = 11
"""Pixels of the window of SSIM, which smaller images do not have."""

_LEAST_PSNR = 20.0
"""Decibels over which all weights that work leave images at strength 1."""

_JUDGED = 4
"""Images by which a run is judged, at least: one by itself may be odd."""

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class EmbeddingJob:
    """Images, networks and options of an embedding run; all but the fingerprints.

    Args:
        source: Images.
        output: Folder for the results.
        encoder: Encoder.
        encoder_hash: Hash of its file, by which a run that goes on knows it.
        trainer: Trainer of `make_trainer`.
        geometry: Crop and resize of the images.
        format: Format of the written images.
        strength: Factor on the watermark residual.
        min_psnr: PSNR in dB that no image falls below; 0 is no limit.
        batch_size: Images that the network sees at once.
        num_workers: Loader processes; None: as many as CPUs.
        archive: True to pack the images as a zip, too.

    Raises:
        UserError: a number or the format is out of range, labels are not in StyleGAN's form, or the
            output would be among the source's images in the next run.
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
        check_labels(self.source.dataset_json, self.source.names, self.source.location)
        check_outside(self.source.location, self.output)


@dataclass(frozen=True)
class EmbeddingResult:
    """Result of an embedding run.

    Attributes:
        written: Number of fingerprinted images in the output folder.
        before: Number of those that an earlier run wrote.
        failed: Names of images that could not be used, with the reasons.
        checked: Mean `bit_accuracy`, `psnr` (dB) and `ssim` of the files, if asked for.

    Example:
        >>> EmbeddingResult(written=3, before=1, failed=[("a.png", "empty file")]).written
        3
    """

    written: int
    before: int
    failed: list[tuple[str, str]]
    checked: dict[str, float] | None = None


@exclusive
def embed_folder(settings: EmbedSettings) -> EmbeddingResult | None:
    """Embed fingerprints in a set of images.

    Writes `fingerprinted_images/`, the tables `embedded_fingerprints.txt` and `.csv`, and with a
    key that was drawn `fingerprint.key.json` into `settings.output_dir`. A run that was stopped
    continues with what is missing.

    Args:
        settings: Images, weights and fingerprint.

    Returns:
        Numbers of images; None on all processes but the first.

    Raises:
        UserError: settings do not fit together, weights or images cannot be used, or the folder
            holds a run with other settings.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "in").mkdir()
        ...     Image.new("RGB", (32, 32), "gray").save(f"{folder}/in/gray.png")
        ...     result = embed_folder(
        ...         EmbedSettings(
        ...             data_dir=f"{folder}/in",
        ...             output_dir=Path(folder) / "out",
        ...             encoder_path="cifar32",
        ...             fingerprint="c0ffeec0ffeec0ff",
        ...             num_workers=0,
        ...             cuda=-1,
        ...         )
        ...     )
        >>> result.written
        1
    """
    source = open_source(settings.data_dir, settings.follow_links)
    encoder, card = load_encoder(
        settings.encoder_path, settings.image_resolution, settings.decoder_path
    )
    check_fingerprint_size(settings.fingerprint_size, card["bits"], settings.encoder_path)
    if "version" not in card and settings.image_resolution not in (None, encoder.resolution):
        _log.warning(
            "the published encoder works at %d px, as its decoder says; --image_resolution %d is "
            "the size of the images, to which the fingerprint is enlarged or reduced",
            encoder.resolution,
            settings.image_resolution,
        )
    decoder = None
    if settings.check:
        decoder_path = settings.decoder_path or find_decoder(settings.encoder_path)
        decoder, _ = load_decoder(decoder_path, resolution=settings.image_resolution)
        check_same_bits(encoder, decoder, settings.encoder_path, str(decoder_path))
    job = EmbeddingJob(
        source=source,
        output=settings.output_dir,
        encoder=encoder,
        encoder_hash=file_hash(find_weights(settings.encoder_path, "encoder")),
        trainer=make_trainer(**settings.trainer_options()),
        geometry=settings.geometry,
        format=settings.format,
        strength=settings.strength,
        min_psnr=settings.min_psnr,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        archive=settings.archive,
    )
    result = run_embedding(job, _fingerprints(settings, card["bits"]))
    if result is None or decoder is None or not result.written:
        return result
    if settings.samples:
        _write_samples(job, settings.samples)
    return replace(result, checked=check_embedding(job, decoder))


def _write_samples(job: EmbeddingJob, count: int) -> None:
    """Write the sample pictures of the first images of a finished embedding."""
    outputs = {r["name"]: r["output"] for r in records(job.output) if r.get("error") is None}
    done = ((i, outputs[name]) for i, name in enumerate(job.source.names) if name in outputs)
    pairs = [
        (
            job.geometry(decode_image(job.source.read(position)).pixels),
            decode_image((job.output / FINGERPRINTED_FOLDER / output).read_bytes()).pixels,
        )
        for position, output in islice(done, count)
    ]
    for name, picture in sample_pictures(pairs, job.encoder.resolution).items():
        write_atomic(job.output / name, picture)


def _fingerprints(settings: EmbedSettings, bits: int) -> Fingerprints:
    """Return the fingerprints that the settings ask for; log what they are good for."""
    given = settings.given_fingerprints(bits)
    if given is not None:
        if settings.identical_fingerprints or settings.seed is not None:
            raise UserError(
                "--key, --fingerprint and --fingerprint_file name the fingerprint; leave out "
                "--identical_fingerprints and --seed"
            )
        return given
    context = owner_context(settings.owner, settings.subject)
    if context and not settings.identical_fingerprints:
        raise UserError(
            "--owner and --subject name one fingerprint; give --key or --identical_fingerprints"
        )
    key_file = settings.output_dir / KEY_FILE
    await_first(key_file)
    per_image = not settings.identical_fingerprints
    drawn = draw_fingerprints(bits, settings.output_dir, per_image, settings.seed, context)
    if first_process():
        if settings.seed is not None:
            _log.warning("--seed: this fingerprint is no secret; whoever knows the number has it")
        if per_image:
            _log.warning(
                "every image gets a random fingerprint of its own; such fingerprints do not "
                "transfer to a generator (--identical_fingerprints makes one for all)"
            )
        _log.warning("the key is in %s; keep it secret and keep it safe", one_line(str(key_file)))
    return drawn


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
    if not run_prediction(_Embedder(job, fingerprints, outputs), data, job.trainer):
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


def records(output: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an output folder, but for those of images that are not there."""
    for record in Journal(output, "embed").stream():
        if (
            record.get("error") is not None
            or (output / FINGERPRINTED_FOLDER / record["output"]).is_file()
        ):
            yield record


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


class _Embedder(Prediction):
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


@torch.inference_mode()
def check_embedding(job: EmbeddingJob, decoder: Decoder) -> dict[str, float]:
    """Read a finished embedding back from its files, as an auditor would.

    Returns the mean `bit_accuracy`, `psnr` (dB) and `ssim` of its images. The originals are read
    and cropped again; nothing is taken from memory. SSIM is that of the images of 11 pixels a side
    or more, nan if there is none. Raises UserError: there is no image.
    """
    positions = {name: i for i, name in enumerate(job.source.names)}
    sums, counts = np.zeros(3), np.zeros(3)
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
            if min(written.shape[:2]) >= _SSIM_SIDE:
                sums[2] += float(ssim(y, x))
                counts[2] += 1
    if not counts[0]:
        raise UserError(f"{job.output} holds no fingerprinted image to check")
    means = (float(a / n) if n else math.nan for a, n in zip(sums, counts, strict=True))
    return dict(zip(("bit_accuracy", "psnr", "ssim"), means, strict=True))
