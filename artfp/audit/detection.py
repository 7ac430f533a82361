"""Detection: decode images, compare them with fingerprints, and decide."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from artfp.audit.settings import DetectSettings
from artfp.core.errors import UserError, one_line
from artfp.core.run_folder import exclusive
from artfp.data.sources import open_source
from artfp.ownership.key import parse_fingerprint

if TYPE_CHECKING:
    from artfp.audit.report import ReportContents
    from artfp.audit.verdicts import AuditResult
    from artfp.stats import Verdict
    from artfp.watermark.records import Records

_NAMED = 10  # images that a warning names

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodedImage:
    """Decoded bits of an image.

    Args:
        name: Name of the image in its source.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        realigned: What was undone before decoding, such as a mirroring; "" for nothing.
        bits: Decoded bits, shape (bits,), of {0, 1}.

    Example:
        >>> image = DecodedImage("a.png", 640, 480, "", np.array([0, 1, 1, 0], np.uint8))
        >>> image.bits.tolist()
        [0, 1, 1, 0]
    """

    name: str
    width: int
    height: int
    realigned: str
    bits: NDArray[np.uint8]


@dataclass(frozen=True)
class DetectionResult:
    """Result of a detection.

    Args:
        images: Images that were decoded, in the order of the source.
        failed: Name and reason of each image that could not be used.
        bits: Bits that the decoder gives.
        matches: Bits of each image that match the fingerprint, shape (images,); None if there was
            no fingerprint, or a registry.
        audit: Verdict with the finding of each image; None if no verdict was asked for.
        report: Contents of the report as a JSON object; None without a verdict.

    Example:
        >>> DetectionResult((), (("a.png", "the file is empty"),), 100).verdict is None
        True
    """

    images: tuple[DecodedImage, ...]
    failed: tuple[tuple[str, str], ...]
    bits: int
    matches: NDArray[np.int64] | None = None
    audit: AuditResult | None = None
    report: ReportContents | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Verdict over all images; None if none was asked for, or no image could be read."""
        return None if self.audit is None else self.audit.verdict


@exclusive
def detect_folder(settings: DetectSettings) -> DetectionResult | None:
    """Decode images, compare them with a fingerprint or a registry, and decide.

    What `artfp detect` does. The tables are written to `settings.output_dir`, and a run that was
    stopped goes on there; without a folder nothing is kept.

    Args:
        settings: Settings of `artfp detect`.

    Returns:
        What was found; None on all processes but the first.

    Raises:
        UserError: something is missing, malformed, or cannot be written, or the folder holds the
            report of another detection.

    Example:
        >>> from artfp.audit import DetectSettings
        >>> detect_folder(DetectSettings(data_dir="nowhere", fingerprint="0" * 100))
        Traceback (most recent call last):
        artfp.core.errors.UserError: nowhere: no such file or folder
    """
    source = open_source(settings.data_dir, settings.follow_links)

    # Bad input is refused before torch is imported.
    from artfp.audit.auditor import prepare_audit, refuse_other_reports, verdict_columns
    from artfp.data.bundle import find_weights
    from artfp.data.hidden_files import scratch_folder
    from artfp.data.paths import file_hash
    from artfp.watermark.decode import DecodingJob, run_decoding
    from artfp.watermark.prediction_loop import make_trainer
    from artfp.watermark.weights import load_decoder

    decoder, card = load_decoder(settings.decoder_path, settings.realign, settings.image_resolution)
    bits: int = card["bits"]
    if settings.fingerprint_size not in (None, bits):
        raise UserError(
            f"--fingerprint_size is {settings.fingerprint_size}, but {settings.decoder_path} works "
            f"with {bits} bits"
        )
    digest = file_hash(find_weights(settings.decoder_path, "decoder"))
    given = settings.given_fingerprints(bits)
    options = settings.trainer_options()
    if settings.output_dir is None and options["devices"] == "auto":
        options["devices"] = 1  # more processes would need a folder that they share
    refuse_other_reports(settings)
    images: list[DecodedImage] = []
    with ExitStack() as stack:
        auditor = None
        if settings.gives_verdict:
            auditor = stack.enter_context(prepare_audit(settings, source, given, decoder, digest))

        def examine(records: Records) -> Mapping[str, Mapping[str, object]]:
            images.extend(_decoded(records, source.names))
            return {} if auditor is None else auditor.examine(records)

        folder = settings.output_dir or stack.enter_context(scratch_folder("detect"))
        done = run_decoding(
            DecodingJob(
                source=source,
                output=folder,
                decoder=decoder,
                decoder_hash=digest,
                fingerprints=given,
                geometry=settings.geometry,
                batch_size=settings.batch_size,
                num_workers=settings.num_workers,
                trainer=make_trainer(**options),
                examine=examine,
                columns=verdict_columns(settings),
            )
        )
    if done is None:
        return None
    _warn_of_small(images, bits, decoder.resolution)
    matches = None
    if given is not None:
        counts = [int((image.bits == given.of_image("")).sum()) for image in images]
        matches = np.array(counts, np.int64)
    return DetectionResult(
        tuple(images),
        tuple(done.failed),
        bits,
        matches,
        None if auditor is None else auditor.audit,
        None if auditor is None else auditor.report,
    )


def _warn_of_small(images: Sequence[DecodedImage], bits: int, resolution: int) -> None:
    """Name images that are too small to carry the message, and count them."""
    from artfp.watermark.networks.base import refuse_small

    found = [(i.name, refuse_small(i.height, i.width, bits, resolution)) for i in images]
    small = [(name, reason) for name, reason in found if reason]
    for name, reason in small[:_NAMED]:
        _log.warning("inconclusive: %s: %s", one_line(name), reason)
    if len(small) > _NAMED:
        _log.warning("%d images are too small to carry a fingerprint", len(small))


def _decoded(records: Records, names: Sequence[str]) -> list[DecodedImage]:
    """The images that were decoded, in the order of the names."""
    order = {name: position for position, name in enumerate(names)}
    found = [
        DecodedImage(
            record["name"],
            record["width"],
            record["height"],
            record["realigned"],
            parse_fingerprint(record["bits"], len(record["bits"])),
        )
        for record in records()
        if record.get("error") is None
    ]
    return sorted(found, key=lambda image: order[image.name])
