"""Calibration of a decoder: decode clean images, compare the bits with test keys, keep the result.

The file with the calibration lies beside the decoder's, where `artfp detect` finds it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from artfp import __version__
from artfp.core.errors import UserError
from artfp.data.bundle import find_weights, shipped_weights
from artfp.data.files import new_file, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.naming import unique_name
from artfp.data.paths import check_output, file_hash
from artfp.data.sources import ImageSource, open_source
from artfp.ownership.commitment import utc_now
from artfp.ownership.key import Key, parse_fingerprint
from artfp.stats import Calibration, calibrate_decoder, find_alarms
from artfp.watermark.decode import (
    DETECTED_LISTING,
    DETECTED_TABLE,
    DecodingJob,
    DecodingResult,
    run_decoding,
)
from artfp.watermark.prediction_loop import make_trainer
from artfp.watermark.records import Records, unpack_logits
from artfp.watermark.settings import CalibrateSettings
from artfp.watermark.weights import load_decoder

Metadata = dict[str, object]

_MAX_BYTES = 64 << 20
_MADE = "made"


@dataclass(frozen=True)
class CalibrationResult:
    """Result of a calibration.

    Attributes:
        calibration: Figures of the decoder on the images.
        output: File that holds them.
        decoded: Number of images decoded.
        failed: Names of images that could not be used, with the reasons.

    Example:
        >>> import artfp
        >>> settings = artfp.watermark.CalibrateSettings(data_dir=("nowhere",), output="found.json")
        >>> calibrate_folder(settings)
        Traceback (most recent call last):
        artfp.core.errors.UserError: nowhere: no such file or folder
    """

    calibration: Calibration
    output: Path
    decoded: int
    failed: list[tuple[str, str]]


def calibrate_folder(settings: CalibrateSettings) -> CalibrationResult | None:
    """Decode clean images and write the calibration of the decoder.

    A run that was stopped continues with what is missing.

    Args:
        settings: Decoder, clean images and number of test keys.

    Returns:
        The calibration and its file; None on all processes but the first.

    Raises:
        UserError: the decoder or fewer than two images can be used, or a file cannot be written.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for gray in range(4):
        ...         Image.new("RGB", (32, 32), (60 * gray,) * 3).save(f"{folder}/{gray}.png")
        ...     result = calibrate_folder(
        ...         CalibrateSettings(
        ...             decoder_path="cifar32",
        ...             data_dir=(folder,),
        ...             output=Path(folder) / "calibration.json",
        ...             num_workers=0,
        ...             cuda=-1,
        ...         )
        ...     )
        >>> result.calibration.images
        4
    """
    weights = find_weights(settings.decoder_path, "decoder")
    output = check_output(str(_output(settings, weights)), "calibration")
    logits = None if settings.logits is None else check_output(str(settings.logits), "logits")
    source = CombinedSource(settings.data_dir, settings.max_images)
    decoder, card = load_decoder(settings.decoder_path, settings.realign, settings.image_resolution)
    decoder_hash = file_hash(weights)
    made = {
        "data": source.titles,
        "image_resolution": settings.image_resolution,
        "realign": settings.realign,
    }
    calibrator = Calibrator(card["bits"], decoder_hash, settings.keys, output, made, logits)
    job = DecodingJob(
        source=source,
        output=output.with_name(f"{output.name}.decoding"),
        decoder=decoder,
        decoder_hash=decoder_hash,
        geometry=Geometry(settings.image_resolution),
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        trainer=make_trainer(**settings.trainer_options()),
    )
    result = run_calibration(job, calibrator)
    if result is None or calibrator.calibration is None:
        return None
    return CalibrationResult(calibrator.calibration, output, result.decoded, result.failed)


def _output(settings: CalibrateSettings, weights: Path) -> Path:
    """Return the file to write: the given one, or beside a decoder of the user's own."""
    if settings.output is not None:
        return settings.output
    if settings.decoder_path in shipped_weights():
        raise UserError(
            f"missing --output: {settings.decoder_path} comes with artfp, whose files stay as they "
            "are"
        )
    return default_calibration_path(weights)


class CombinedSource:
    """Several sources of images as one, with an equal number of each, as far as they have it.

    Of a source with more images, those at equal distances in the order of their names are taken:
    the same ones every time. A name begins with that of its source.

    Args:
        locations: Folders, zips, images or lists of paths.
        most: Images of all sources together, at most.

    Raises:
        UserError: a source cannot be opened.
    """

    dataset_json: dict[str, Any] | None = None

    def __init__(self, locations: Sequence[str], most: int | None = None) -> None:
        opened = [open_source(location) for location in locations]
        taken: dict[str, int] = {}
        titles = [unique_name(Path(each.location).name or "images", taken) for each in opened]
        files: dict[str, tuple[ImageSource, int]] = {}
        for title, source, count in zip(titles, opened, _counts(opened, most), strict=True):
            for number in range(count):
                index = number * len(source) // count
                files[f"{title}/{source.names[index]}"] = source, index
        self.location = "|".join(map(os.path.abspath, locations))
        self.titles = titles
        self.names = sorted(files)
        self._files = [files[name] for name in self.names]

    def read(self, index: int) -> bytes:
        """See ImageSource."""
        source, number = self._files[index]
        return source.read(number)

    def __len__(self) -> int:
        return len(self._files)


def _counts(sources: Sequence[ImageSource], most: int | None) -> list[int]:
    """Return the number of images of each source: equal, but for sources that have fewer."""
    counts = [len(source) for source in sources]
    left = sum(counts) if most is None else most
    for done, i in enumerate(sorted(range(len(counts)), key=counts.__getitem__)):
        counts[i] = min(counts[i], left // (len(counts) - done))
        left -= counts[i]
    return counts


@dataclass
class Calibrator:
    """Makes a calibration of what a run decoded, and writes it: a `DecodingJob.examine`.

    Afterwards `calibration` holds the result. The test keys are
    `Key.from_seed(0)`, `Key.from_seed(1)`, ...: they stand for keys that have nothing to do with
    the images, and need not be secret. `made` is kept in the file, `logits` is an `.npz` of the
    images' `names` (N,) and `logits` (N, bits), or none.
    """

    bits: int
    decoder_hash: str
    keys: int
    output: Path
    made: Mapping[str, object]
    logits: Path | None = None
    calibration: Calibration | None = field(default=None, init=False)

    def __call__(self, records: Records) -> Mapping[str, Mapping[str, object]]:
        """Calibrate and write; nothing is added to the table of the run."""
        read = [record for record in records() if record.get("error") is None]
        if len(read) < 2:
            raise UserError(
                f"only {len(read)} of the images could be decoded; at least 2 are needed"
            )
        decoded = np.stack([parse_fingerprint(record["bits"], self.bits) for record in read])
        keys = np.stack([Key.from_seed(i).fingerprint(self.bits) for i in range(self.keys)])
        found = calibrate_decoder(decoded, keys, self.decoder_hash)
        if self.logits is not None:
            values = np.stack([unpack_logits(record["logits"]) for record in read])
            names = np.array([record["name"] for record in read])
            with new_file(self.logits, "logits", secret=False, overwrite=True) as file:
                np.savez(file, names=names, logits=values.astype(np.float32))
        tested = f"Key.from_seed(0) to Key.from_seed({self.keys - 1}), test keys, not secret"
        made = {"software": f"artfp {__version__}", "time": utc_now(), "keys": tested, **self.made}
        write_calibration(self.output, found, made)
        self.calibration = found
        return {}


def run_calibration(job: DecodingJob, calibrator: Calibrator) -> DecodingResult | None:
    """Decode the images of a job and calibrate; the job's output is a folder to work in.

    A run that was stopped continues with what is missing; of a finished one only the files of the
    calibrator stay. Returns None on all processes but the first.

    Raises:
        UserError: fewer than two images could be decoded, or a file cannot be written.
    """
    result = run_decoding(replace(job, examine=calibrator))
    if result is not None:
        for name in (DETECTED_LISTING, DETECTED_TABLE):
            (job.output / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: somebody else's files
            job.output.rmdir()
    return result


def default_calibration_path(decoder: Path) -> Path:
    """Return the file where the calibration of a decoder's file is looked for.

    It is `NAME_calibration.json` beside it; NAME is that of the decoder's file without its ending
    and `_decoder`.
    """
    return decoder.with_name(f"{decoder.stem.removesuffix('_decoder')}_calibration.json")


def write_calibration(path: Path, found: Calibration, made: Mapping[str, object]) -> None:
    """Write a calibration, and how it was `made`: JSON values, `realign` among them.

    Raises:
        UserError: it cannot be written.
    """
    write_atomic(path, json.dumps({_MADE: dict(made), **found.to_dict()}) + "\n")


def read_calibration(
    path: str | None, decoder: Path, decoder_hash: str, bits: int, realign: bool = True
) -> tuple[Metadata | None, list[str]]:
    """Return the metadata of a decoder's calibration, and warnings for a run with this decoder.

    It is read from `path`, or without one from the file beside the decoder's. Metadata are None if
    there is no calibration of this decoder.

    Raises:
        UserError: the file of `path` cannot be read or holds no calibration.
    """
    beside = default_calibration_path(decoder)
    if path is None and not beside.is_file():
        return None, [
            "The decoder was not checked on clean images (artfp calibrate). The p-values hold for "
            "a secret random key all the same; how often clean images pass for this one key is not "
            "known."
        ]
    try:
        found, made = _read(Path(path) if path is not None else beside)
    except UserError as error:
        if path is not None:
            raise
        return None, [f"The calibration beside the decoder cannot be used: {error}."]
    name = beside.name if path is None else path
    if found.decoder_hash.removeprefix("sha256:") != decoder_hash or found.bits != bits:
        return None, [
            f"The calibration in {name} is of another decoder ({found.decoder_hash[:19]}, "
            f"{found.bits} bits) and does not apply to this one."
        ]
    warnings = [f"Calibration: {alarm}." for alarm in find_alarms(found)]
    if made.get("realign", realign) != realign:
        how = ("without", "with") if realign else ("with", "without")
        warnings.append(
            f"The calibration in {name} is of the decoder {how[0]} realignment, and here it "
            f"decodes {how[1]}."
        )
    return {"file": name, "decoder": found.decoder_hash, "images": found.images}, warnings


def _read(path: Path) -> tuple[Calibration, Mapping[str, Any]]:
    """Read a calibration, and how it was made, which files of other programs may leave out."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MAX_BYTES))
    except OSError as error:
        raise UserError(f"calibration {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"calibration {path}: not JSON; expected one that artfp wrote") from None
    found = Calibration.from_dict(content)
    made = content.get(_MADE)
    return found, made if isinstance(made, dict) else {}
