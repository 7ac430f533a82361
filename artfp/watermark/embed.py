"""Fingerprint every image of a source."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice

from artfp.core.errors import UserError, one_line
from artfp.core.processes import await_first, first_process
from artfp.core.run_folder import exclusive
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.decode import decode_image
from artfp.data.files import write_atomic
from artfp.data.paths import file_hash
from artfp.data.sources import open_source
from artfp.metrics.visibility_summary import VisibilitySummary
from artfp.ownership.assignment import KEY_FILE, Fingerprints, draw_fingerprints
from artfp.ownership.key import owner_context
from artfp.watermark.embed_check import check_embedding
from artfp.watermark.embed_job import EmbeddingJob, records
from artfp.watermark.embed_run import EmbeddingResult, run_embedding
from artfp.watermark.prediction_loop import make_trainer
from artfp.watermark.samples import sample_pictures
from artfp.watermark.settings import FINGERPRINTED_FOLDER, EmbedSettings
from artfp.watermark.weights import (
    check_fingerprint_size,
    check_same_bits,
    load_decoder,
    load_encoder,
)

_log = logging.getLogger("artfp")


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
        >>> from pathlib import Path
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
    seen = VisibilitySummary()
    checked = check_embedding(job, decoder, seen)
    return replace(result, checked=checked, most_visible=seen.worst)


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
