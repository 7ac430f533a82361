"""The record of what a decoder said of clean images, as `health.calibrate` makes it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from artfp.core.errors import UserError

_KIND = "decoder calibration"
_VERSION = 1
_LARGEST = 2**53  # above it floats skip whole numbers
_LONGEST = 200  # characters of a reason


@dataclass(frozen=True)
class BitBias:
    """Fraction of clean images in which a bit is 1, with bounds, each at .95 by itself."""

    ones: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Dependence:
    """Correlations between the bits, over images; `constant` bits have none and are left out.

    `mean_square` is that of all pairs, less 1 / (images - 1), which independent bits would show;
    `largest` has the largest size of all, with its sign, between the bits of `pair`. With k bits
    that vary, `effective_bits` is k / (1 + (k - 1) * mean_square): the participation ratio of the
    eigenvalues of their correlation matrix, k for independent bits and 1 for copies of one bit.
    """

    mean_square: float
    largest: float
    pair: tuple[int, int]
    effective_bits: float
    constant: int


@dataclass(frozen=True)
class FalseAlarms:
    """Clean images that pass for a key at a nominal level, with bounds, each at .95 by itself.

    `threshold` is the number of matches asked for, `attained` what the binomial gives for it: at
    most `level`, as matches are whole.
    """

    level: float
    threshold: int
    attained: float
    hits: int
    rate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class KeyCheck:
    """Clean images against one key.

    `mean` of the matches, expected bits / 2, with its standard error; `dispersion`, the variance
    of the matches over bits / 4, expected 1, with its standard error (from the fourth moment);
    `false_alarms`, one for each level.
    """

    mean: float
    mean_error: float
    dispersion: float
    dispersion_error: float
    false_alarms: tuple[FalseAlarms, ...]


@dataclass(frozen=True)
class Calibration:
    """Decoded bits of clean images, by themselves and against fingerprints.

    The fingerprints are not in it, but `keys` depends on them: whoever has it learns some bits of
    each. Treat it as you treat the keys, or calibrate with others.

    Args:
        decoder_hash: SHA-256 of the decoder's weights.
        images: Number of clean images.
        bits: Bits of a fingerprint.
        biases: Fraction of ones of each bit, with bounds.
        dependence: Correlations between the bits.
        keys: Matches and false alarms of each fingerprint.

    Example:
        >>> import numpy as np
        >>> from artfp.stats import calibrate_decoder
        >>> rng = np.random.default_rng(0)
        >>> decoded, keys = rng.integers(0, 2, (200, 64)), rng.integers(0, 2, (5, 64))
        >>> found = calibrate_decoder(decoded, keys, decoder_hash="0" * 64)
        >>> found.images, found.bits, len(found.keys)
        (200, 64, 5)
    """

    decoder_hash: str
    images: int
    bits: int
    biases: tuple[BitBias, ...]
    dependence: Dependence
    keys: tuple[KeyCheck, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and texts, for JSON; `from_dict` takes it back."""
        return {"artfp": _KIND, "version": _VERSION, **_plain(dataclasses.asdict(self))}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], decoder_hash: str | None = None) -> Calibration:
        """Read what `to_dict` wrote; where `decoder_hash` is given, it must be that decoder's.

        Raises:
            UserError: the content is no calibration of this version, or of another decoder.
        """
        if not isinstance(content, Mapping):
            raise UserError(f"calibration: found {type(content).__name__}, expected an object")
        if content.get("artfp") != _KIND or content.get("version") != _VERSION:
            raise UserError(
                f"calibration: expected a {_KIND} of version {_VERSION}, as artfp writes it"
            )
        try:
            found = _read_calibration(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = str(error)[:_LONGEST]
            raise UserError(f"calibration: a field is missing or wrong: {reason}") from error
        if decoder_hash is not None and found.decoder_hash != decoder_hash:
            raise UserError(
                f"calibration: made for decoder {found.decoder_hash}, not for {decoder_hash}; "
                "calibrate this decoder"
            )
        return found


def _plain(value: Any) -> Any:
    """Turn tuples into lists, so that JSON gives back what it was given."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _read_calibration(content: Mapping[str, Any]) -> Calibration:
    """Build a calibration from its dict; raise KeyError, TypeError or ValueError."""
    dependence = content["dependence"]
    first, second = dependence["pair"]
    found = Calibration(
        decoder_hash=str(content["decoder_hash"]),
        images=_number(content["images"], "int"),
        bits=_number(content["bits"], "int"),
        biases=tuple(_read(BitBias, bias) for bias in content["biases"]),
        dependence=_read(
            Dependence, dependence, pair=(_number(first, "int"), _number(second, "int"))
        ),
        keys=tuple(
            _read(
                KeyCheck,
                key,
                false_alarms=tuple(_read(FalseAlarms, alarm) for alarm in key["false_alarms"]),
            )
            for key in content["keys"]
        ),
    )
    if found.images < 2 or len(found.biases) != found.bits:
        raise ValueError(f"{found.images} images, {len(found.biases)} biases of {found.bits} bits")
    alarms = [alarm for key in found.keys for alarm in key.false_alarms]
    if not all(0 <= bias.ones <= 1 for bias in found.biases) or not all(
        0 <= alarm.hits <= found.images and 0 < alarm.level < 1 for alarm in alarms
    ):
        raise ValueError("a fraction outside 0 to 1, or more hits than images")
    return found


_Record = TypeVar("_Record", BitBias, Dependence, FalseAlarms, KeyCheck)


def _read(kind: type[_Record], content: Mapping[str, Any], **read: Any) -> _Record:
    """Build a record of numbers from a dict, with the fields in `read` read already."""
    names = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    if set(content) != set(names):
        raise KeyError(f"found {sorted(content)}, expected {sorted(names)}")
    numbers = {name: _number(content[name], names[name]) for name in names if name not in read}
    return kind(**numbers, **read)


def _number(value: Any, kind: str) -> Any:
    """Check an int or a finite float."""
    if isinstance(value, bool) or not isinstance(value, int if kind == "int" else (int, float)):
        raise TypeError(f"found {value!r}, expected {kind}")
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise ValueError(f"found {value!r}, expected a finite number")
    return value if kind == "int" else float(value)
