"""The file with a decoder's calibration: where it lies, what it holds, what it says of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.data.files import write_atomic
from artfp.stats import Calibration, alarms

_MOST = 64 << 20
_MADE = "made"

Facts = dict[str, object]


def calibration_beside(decoder: Path) -> Path:
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
    beside = calibration_beside(decoder)
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
    warnings = [f"Calibration: {alarm}." for alarm in alarms(found)]
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
