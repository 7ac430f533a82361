"""Results of a transfer study: every generator's images decoded, and compared with the data."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.content import source_digest
from artfp.data.files import write_atomic
from artfp.data.paths import file_hash
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import limit_images
from artfp.ownership.assignment import Fingerprints
from artfp.transfer.decoded import (
    InData,
    Transferred,
    TransferRow,
    VerdictOn,
    decode_source,
    transferred,
)
from artfp.transfer.study import FINGERPRINTED, TransferStudy
from artfp.watermark import load_decoder
from artfp.watermark.embed_job import EMBEDDED_TABLE
from artfp.watermark.settings import FINGERPRINTED_FOLDER

READINGS = "readings.json"

_log = logging.getLogger("artfp")


def read_all(
    study: TransferStudy,
    fingerprints: Fingerprints,
    decoder: str | None = None,
    realign: bool = True,
) -> tuple[InData, list[TransferRow]]:
    """Decode some of the fingerprinted images, and all that was generated.

    Results of an earlier call are kept in the study's folder; those of the same images are not
    computed again.

    Args:
        study: Study with its generated images.
        fingerprints: Fingerprint that is tested.
        decoder: Shipped name or file; None: the encoder's own.
        realign: Whether images are put back before they are decoded, see `load_decoder`.

    Returns:
        Figures of the training images, and of the images of each generator.

    Raises:
        UserError: images are missing; a decoder of another number of bits.
    """
    readings = _Readings(study, fingerprints, decoder, realign)
    folder = study.folder("data", FINGERPRINTED)
    if not (folder / EMBEDDED_TABLE).is_file():
        raise UserError(f"{folder}: no images; run the stage embed first")
    with open(folder / EMBEDDED_TABLE, newline="") as file:
        psnr = statistics.fmean(float(row["psnr"]) for row in csv.DictReader(file) if row["psnr"])
    data = InData(
        psnr,
        readings.of(limit_images(open_source(folder / FINGERPRINTED_FOLDER), study.images), "data"),
    )
    rows = []
    for group in study.groups:
        for step, generator in study.snapshots(group).items():
            images = study.made(group, step)
            if not images.is_dir():
                raise UserError(f"{images}: no images; run the stage generate first")
            read = readings.of(open_source(images), file_hash(generator))
            rows.append(TransferRow(group, step, read))
    readings.save()
    return data, rows


class _Readings:
    """Results of decoding folders of images, kept in a file."""

    def __init__(
        self,
        study: TransferStudy,
        fingerprints: Fingerprints,
        decoder: str | None,
        realign: bool,
    ) -> None:
        name = decoder or find_decoder(study.encoder)
        self.decoder, _ = load_decoder(name, realign)
        self.realign = realign
        if self.decoder.bits != fingerprints.bits:
            raise UserError(
                f"{name} reads {self.decoder.bits} bits, the fingerprint has {fingerprints.bits}"
            )
        self.fingerprint = fingerprints.of_image("")
        self.digest = file_hash(find_weights(name, "decoder"))
        self.root, self.path = study.output, study.output / READINGS
        self.known: dict[str, Any] = {}
        if self.path.is_file():
            try:
                self.known = dict(json.loads(self.path.read_text()))
            except ValueError:
                _log.warning("%s: damaged; everything is read again", self.path)

    def of(self, source: ImageSource, origin: str) -> Transferred:
        """Return the results of a source's images; `origin` names what made them."""
        place = Path(source.location).relative_to(self.root).as_posix()
        what = repr((self.digest, origin, place, source_digest(source), self.realign))
        key = hashlib.sha256(what.encode()).hexdigest()[:32]
        if key not in self.known:
            _log.info("reading: %s", place)
            logits, failed = decode_source(self.decoder, source)
            for name, reason in failed:
                _log.warning("unusable: %s: %s", name, reason)
            self.known[key] = asdict(transferred(logits, self.fingerprint))
            self.save()
        figures = dict(self.known[key])
        figures["verdicts"] = tuple(VerdictOn(**verdict) for verdict in figures["verdicts"])
        return Transferred(**figures)

    def save(self) -> None:
        """Write what is known."""
        write_atomic(self.path, json.dumps(self.known) + "\n", keep_equal=True)
