"""Leakage: properties of the files by which sources can be told apart without their pictures.

A classifier of images shows nothing where the sources differ in their files alone: one saved as
JPEG and the other as PNG, one at 256 pixels and the other at 128. `find_leakage` reads the headers
of each source's images and measures, for every property, how often a rule that knows nothing else
is right: it names the source that has this value most often. One property is of the pixels: whether
they were JPEG before they were saved as something else (see `artfp.passive.fitting.jpeg_traces` for
its limits).
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin

from artfp.core.errors import one_line
from artfp.core.processes import first_process
from artfp.core.progress import Progress
from artfp.data.image_files import ImageError, open_image
from artfp.data.sources import ImageSource
from artfp.data.subset import limit_images
from artfp.passive.fitting.jpeg_traces import MAX_TRACED_SIDE, was_jpeg

Properties = Mapping[str, str]
"""Values by the names of PROPERTIES."""

PROPERTIES = (
    "format",
    "size",
    "scale",
    "colour mode",
    "JPEG quantisation",
    "JPEG subsampling",
    "JPEG scans",
    "metadata",
    "JPEG traces",
)
"""Properties that are compared. `scale` is the shorter side in steps of a factor of two; `JPEG
traces` are in the pixels, whatever the file is now."""

MAX_COMPARED = 500
"""Images of each source that are compared, at most."""

_FOLDS = 5
_MARGIN = 0.05  # by which a rule must surely be better than chance to be worth a warning

_log = logging.getLogger("artfp")

_Z = 1.959963984540054
_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0", -1: "gray"}
_NOT_METADATA = frozenset(
    {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "transparency"}
)
_SHOWN = 3


@dataclass(frozen=True)
class Leakage:
    """A property of files by which sources can be told apart.

    Attributes:
        property: One of PROPERTIES.
        accuracy: Mean over the sources of the fraction of their images that a cross-validated rule
            on this property alone attributes correctly.
        low: Lower bound of the accuracy, at 97.5% confidence.
        chance: Accuracy of guessing.
        values: Most frequent values of each source, with their fractions.
    """

    property: str
    accuracy: float
    low: float
    chance: float
    values: dict[str, dict[str, float]]

    def __str__(self) -> str:
        """Return one line: the property, its accuracy, and the values of each source."""
        values = "; ".join(
            f"{name}: {', '.join(f'{value} {part:.0%}' for value, part in fractions.items())}"
            for name, fractions in self.values.items()
        )
        return one_line(
            f"{self.property} alone identifies the source of {self.accuracy:.0%} of the images, "
            f"guessing of {self.chance:.0%} ({values})"
        )


def file_properties(data: bytes) -> Properties | None:
    """Return the PROPERTIES of an image file; None if it cannot be read."""
    try:
        with open_image(data) as image:
            return _properties(image)
    except ImageError:
        return None


def find_leakage(sources: Mapping[str, ImageSource], limit: int = MAX_COMPARED) -> list[Leakage]:
    """Return the leakage in the files of at most `limit` images of each source, the worst first.

    Files that cannot be read count for nothing.
    """
    known: dict[str, list[Properties]] = {}
    chosen = {name: limit_images(source, limit) for name, source in sources.items()}
    with Progress("Comparing files", sum(map(len, chosen.values()))) as progress:
        for name, source in chosen.items():
            known[name] = []
            for index in range(len(source)):
                with suppress(ImageError):
                    properties = file_properties(source.read(index))
                    if properties is not None:
                        known[name].append(properties)
                progress.advance()
    return compare_properties(known)


def warn_of_leakage(sources: Mapping[str, ImageSource]) -> list[Leakage]:
    """Return the leakage in the files of the sources, after a warning of each in the log."""
    found = find_leakage(sources)
    if first_process():
        for each in found:
            _log.warning("warning: %s", each)
    return found


def compare_properties(known: Mapping[str, Sequence[Properties]]) -> list[Leakage]:
    """Return the properties by which a simple rule tells sources apart, the best first.

    Sources without a readable file are left out; there is nothing to tell apart in fewer than two
    others. Of properties that divide the images alike (no quality means another format) the first
    is returned.
    """
    known = {name: properties for name, properties in known.items() if properties}
    if len(known) < 2:
        return []
    chance = 1.0 / len(known)
    found, seen = [], set[tuple[int, ...]]()
    for name in PROPERTIES:
        values = {source: [each[name] for each in own] for source, own in known.items()}
        division = _division(values)
        if division in seen:
            continue
        seen.add(division)
        accuracy, low = _rule(values)
        if low > chance + _MARGIN:
            found.append(Leakage(name, accuracy, low, chance, _fractions(values)))
    return sorted(found, key=lambda finding: -finding.accuracy)


def _rule(values: Mapping[str, Sequence[str]]) -> tuple[float, float]:
    """Return the balanced accuracy of "the source with most of this value", and its lower bound.

    It is cross-validated; t sources that share a value equally, or all for a new value, get 1/t.
    """
    means, variance = [], 0.0
    for name, own in values.items():
        credits = []
        for fold in range(_FOLDS):
            held = own[fold::_FOLDS]
            fractions = {other: _without(each, fold) for other, each in values.items()}
            for value, count in Counter(held).items():
                each = {other: part.get(value, 0.0) for other, part in fractions.items()}
                best = max(each.values())
                first = [other for other, fraction in each.items() if fraction == best]
                credits += [1.0 / len(first) if name in first else 0.0] * count
        mean = sum(credits) / len(credits)
        means.append(mean)
        variance += sum((credit - mean) ** 2 for credit in credits) / len(credits) ** 2
    accuracy = sum(means) / len(means)
    return accuracy, accuracy - _Z * math.sqrt(variance) / len(means)


def _division(values: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    """Return numbers of the values of all images, by which divisions can be compared."""
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(v, len(numbers)) for each in values.values() for v in each)


def _without(values: Sequence[str], fold: int) -> dict[str, float]:
    """Return fractions of the values that are not in a fold; of all, where none else is left."""
    others = [value for number, value in enumerate(values) if number % _FOLDS != fold]
    counts = Counter(others or values)
    total = sum(counts.values())
    return {value: count / total for value, count in counts.items()}


def _fractions(values: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    return {
        name: {value: count / len(own) for value, count in Counter(own).most_common(_SHOWN)}
        for name, own in values.items()
    }


def _properties(image: Image.Image) -> Properties:
    width, height = image.size
    low = 1 << (min(width, height).bit_length() - 1)
    jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    tables = getattr(image, "quantization", None) if jpeg else None
    return {
        "format": str(image.format),
        "size": f"{width}x{height}",
        "scale": f"{low} to {2 * low - 1} pixels",
        "colour mode": image.mode,
        "JPEG quantisation": _tables_name(tables) if tables else "none",
        "JPEG subsampling": _subsampling(image) if jpeg else "none",
        "JPEG scans": ("progressive" if image.info.get("progressive") else "baseline")
        if jpeg
        else "none",
        "metadata": ", ".join(sorted(_metadata(image))) or "none",
        "JPEG traces": "found" if jpeg or _had_been_jpeg(image) else "none",
    }


def _had_been_jpeg(image: Image.Image) -> bool:
    corner = image.crop(
        (0, 0, min(image.width, MAX_TRACED_SIDE), min(image.height, MAX_TRACED_SIDE))
    )
    return was_jpeg(np.asarray(corner.convert("RGB")))


def _subsampling(image: Image.Image) -> str:
    sampling = JpegImagePlugin.get_sampling(image)
    if sampling == -1 and image.mode != "L":
        return "another"
    return _SAMPLING[sampling]


def _metadata(image: Image.Image) -> set[str]:
    """Return names of the metadata in a file; EXIF tags by their own names."""
    exif = {f"EXIF {ExifTags.TAGS.get(tag, tag)}" for tag in image.getexif()}
    plain = {str(key) for key in image.info} - _NOT_METADATA
    if exif:
        plain.discard("exif")
    return exif | (plain - {"progressive", "progression"})


def _tables_name(tables: Mapping[int, Sequence[int]]) -> str:
    """Return `quality 95` for the tables of the IJG's library, else a digest of them."""
    key = tuple(tuple(tables[number]) for number in sorted(tables))
    name = _usual_tables().get(key)
    return name or f"tables {hashlib.sha256(repr(key).encode()).hexdigest()[:6]}"


@functools.cache
def _usual_tables() -> dict[Any, str]:
    """Return names of the tables that Pillow, and so libjpeg, writes at each quality."""
    names: dict[Any, str] = {}
    for mode in ("RGB", "L"):
        for quality in range(1, 101):
            buffer = io.BytesIO()
            Image.new(mode, (8, 8)).save(buffer, "JPEG", quality=quality)
            with open_image(buffer.getvalue()) as image:
                tables: Mapping[int, Sequence[int]] = getattr(image, "quantization")  # noqa: B009
            key = tuple(tuple(tables[number]) for number in sorted(tables))
            names.setdefault(key, f"quality {quality}")
    return names
