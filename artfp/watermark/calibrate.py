"""Calibrate a decoder: decode clean images, compare them with test keys, write the file."""

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
from artfp.data.files import new_file, write_atomic
from artfp.data.naming import unique_name
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
from artfp.watermark.records import (
    Records,
    unpack_logits,
)


class CombinedSource:
    """Images of several sources as one: of each as many, as far as it goes, up to `most` in all.

    Of a source that has more, images at equal distances in the order of their names are taken: the
    same ones every time. A name begins with that of its source.

    Raises:
        UserError: a source cannot be opened, or `most` is below 2.
    """

    dataset_json: dict[str, Any] | None = None

    def __init__(self, locations: Sequence[str], most: int | None = None) -> None:
        if most is not None and most < 2:
            raise UserError(f"--max_images: found {most}, expected 2 or more")
        opened = [open_source(location) for location in locations]
        taken: set[str] = set()
        titles = [unique_name(Path(each.location).name or "images", taken) for each in opened]
        files: dict[str, tuple[ImageSource, int]] = {}
        for title, source, share in zip(titles, opened, _shares(opened, most), strict=True):
            for number in range(share):
                index = number * len(source) // share
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


def _shares(sources: Sequence[ImageSource], most: int | None) -> list[int]:
    """How many images to take of each source: equal numbers, but for sources that have fewer."""
    shares = [len(source) for source in sources]
    left = sum(shares) if most is None else most
    for done, i in enumerate(sorted(range(len(shares)), key=shares.__getitem__)):
        shares[i] = min(shares[i], left // (len(shares) - done))
        left -= shares[i]
    return shares


@dataclass
class Calibrator:
    """Makes a calibration of what a detection decoded, and writes it.

    It is `DecodingJob.examine`; afterwards `calibration` holds the result. The test keys are
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
        """Calibrate and write; nothing is added to the table of the detection."""
        read = [record for record in records() if record.get("error") is None]
        if len(read) < 2:
            raise UserError(f"only {len(read)} of the images could be decoded; it takes 2 or more")
        words = np.stack([parse_fingerprint(record["bits"], self.bits) for record in read])
        keys = np.stack([Key.from_seed(i).fingerprint(self.bits) for i in range(self.keys)])
        found = calibrate_decoder(words, keys, self.decoder_hash)
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

    A run that was stopped goes on with what is missing; of one that is finished only the files of
    the calibrator stay. Returns None on all processes but the first.

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


_MOST = 64 << 20
_MADE = "made"

Facts = dict[str, object]


def default_calibration_path(decoder: Path) -> Path:
    """Where the calibration of a decoder's file is looked for: `NAME_calibration.json` beside it.

    NAME is that of the decoder's file without its ending and `_decoder`.
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
) -> tuple[Facts | None, list[str]]:
    """What is to be said of a decoder's calibration in a run: facts of it, and warnings.

    It is read from `path`, or where that is none from the file beside the decoder's. Only that of
    this decoder gives facts.

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
            f"{found.bits} bits) and says nothing of this one."
        ]
    warnings = [f"Calibration: {alarm}." for alarm in find_alarms(found)]
    if made.get("realign", realign) != realign:
        how = ("without", "with") if realign else ("with", "without")
        warnings.append(
            f"The calibration in {name} is of the decoder {how[0]} realignment, and here it reads "
            f"{how[1]}."
        )
    return {"file": name, "decoder": found.decoder_hash, "images": found.images}, warnings


def _read(path: Path) -> tuple[Calibration, Mapping[str, Any]]:
    """A calibration and how it was made, which files of others may leave out."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MOST))
    except OSError as error:
        raise UserError(f"calibration {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"calibration {path}: not JSON; expected one that artfp wrote") from None
    found = Calibration.from_dict(content)
    made = content.get(_MADE)
    return found, made if isinstance(made, dict) else {}
