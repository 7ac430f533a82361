"""What tells sources apart without what their pictures show: codec, size, tables, metadata, JPEG.

A classifier of images is good for nothing where the sources differ in their files alone: one saved
as JPEG and the other as PNG, one at 256 pixels and the other at 128. `find_leakage` reads the
headers of each source's images and measures for every property how often a rule that knows nothing
else is right: the source that has this value most often. One property is of the pixels: whether
they were JPEG before they were saved as something else (see
`artfp.passive.fitting.jpeg_traces` for what that cannot see).
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin

from artfp.core.errors import one_line
from artfp.data.decode import ImageError
from artfp.data.sources import ImageSource
from artfp.data.subset import limit_images
from artfp.passive.fitting.jpeg_traces import MAX_SIDE, was_jpeg

__all__ = ["PROPERTIES", "Leakage", "compare_properties", "file_properties", "find_leakage"]

Properties = Mapping[str, str]
"""Values by the names of FACTS."""

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
"""What is compared. `scale` is the shorter side, in steps of a factor of two; `JPEG traces`, in the
pixels, whatever the file is now."""

LIMIT = 500
"""Images of each source that are compared."""

FOLDS = 5
MARGIN = 0.05
"""A rule is worth a warning if it is surely better than chance by as much."""

_Z = 1.959963984540054
_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0", -1: "gray"}
_NOT_METADATA = frozenset(
    {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "transparency"}
)
_SHOWN = 3


@dataclass(frozen=True)
class Leakage:
    """A fact that tells sources apart.

    `accuracy` is the mean share of a source's images that a cross-validated rule on this fact alone
    gets right, at least `low` (97.5%), and `chance` what guessing gets. `values` has for each
    source its commonest values with their shares.
    """

    fact: str
    accuracy: float
    low: float
    chance: float
    values: dict[str, dict[str, float]]

    def __str__(self) -> str:
        """One line: the fact, how well it does, and what each source has."""
        told = "; ".join(
            f"{name}: {', '.join(f'{value} {share:.0%}' for value, share in shares.items())}"
            for name, shares in self.values.items()
        )
        return one_line(
            f"{self.fact} alone tells {self.accuracy:.0%} of the images' sources, where guessing "
            f"tells {self.chance:.0%} ({told})"
        )


def file_properties(data: bytes) -> Properties | None:
    """FACTS of an image file; None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return _facts(image)
    except Exception:  # Pillow's plugins raise nearly every built-in exception
        return None


def find_leakage(
    sources: Mapping[str, ImageSource],
    limit: int = LIMIT,
    tick: Callable[[int], None] = lambda images: None,
) -> list[Leakage]:
    """What tells sources apart by the files of at most `limit` images of each.

    `tick` is called with numbers of images read. Files that cannot be read count for nothing.
    """
    known: dict[str, list[Properties]] = {}
    for name, whole in sources.items():
        source, found = limit_images(whole, limit), []
        for index in range(len(source)):
            try:
                facts = file_properties(source.read(index))
            except ImageError:
                facts = None
            if facts is not None:
                found.append(facts)
            tick(1)
        known[name] = found
    return compare_properties(known)


def compare_properties(known: Mapping[str, Sequence[Properties]]) -> list[Leakage]:
    """Facts by which a simple rule tells sources apart, the best first.

    Sources of which nothing is known are left out; fewer than two of the others tell nothing. Of
    facts that divide the images alike (a quality of none means another format) the first is told.
    """
    known = {name: facts for name, facts in known.items() if facts}
    if len(known) < 2:
        return []
    chance = 1.0 / len(known)
    found, seen = [], set[tuple[int, ...]]()
    for fact in PROPERTIES:
        values = {name: [facts[fact] for facts in each] for name, each in known.items()}
        division = _division(values)
        if division in seen:
            continue
        seen.add(division)
        accuracy, low = _rule(values)
        if low > chance + MARGIN:
            found.append(Leakage(fact, accuracy, low, chance, _shares(values)))
    return sorted(found, key=lambda finding: -finding.accuracy)


def _rule(values: Mapping[str, Sequence[str]]) -> tuple[float, float]:
    """Balanced accuracy of "the source where this value is commonest", and its lower bound.

    Cross-validated; t sources that share a value equally, or all for a value never seen, get 1/t.
    """
    means, variance = [], 0.0
    for name, own in values.items():
        credits = []
        for fold in range(FOLDS):
            held = own[fold::FOLDS]
            shares = {other: _without(each, fold) for other, each in values.items()}
            for value, count in Counter(held).items():
                each = {other: share.get(value, 0.0) for other, share in shares.items()}
                best = max(each.values())
                first = [other for other, share in each.items() if share == best]
                credits += [1.0 / len(first) if name in first else 0.0] * count
        mean = sum(credits) / len(credits)
        means.append(mean)
        variance += sum((credit - mean) ** 2 for credit in credits) / len(credits) ** 2
    accuracy = sum(means) / len(means)
    return accuracy, accuracy - _Z * math.sqrt(variance) / len(means)


def _division(values: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    """Which images share a value, whatever it is called."""
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(v, len(numbers)) for each in values.values() for v in each)


def _without(values: Sequence[str], fold: int) -> dict[str, float]:
    """Shares of the values that are not in a fold; of all, where nothing else is left."""
    kept = [value for number, value in enumerate(values) if number % FOLDS != fold]
    counts = Counter(kept or values)
    total = sum(counts.values())
    return {value: count / total for value, count in counts.items()}


def _shares(values: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    return {
        name: {value: count / len(own) for value, count in Counter(own).most_common(_SHOWN)}
        for name, own in values.items()
    }


def _facts(image: Image.Image) -> Properties:
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
    corner = image.crop((0, 0, min(image.width, MAX_SIDE), min(image.height, MAX_SIDE)))
    return was_jpeg(np.asarray(corner.convert("RGB")))


def _subsampling(image: Image.Image) -> str:
    sampling = JpegImagePlugin.get_sampling(image)
    if sampling == -1 and image.mode != "L":
        return "another"
    return _SAMPLING[sampling]


def _metadata(image: Image.Image) -> set[str]:
    """Names of what a file holds beside its pixels; EXIF tags by their own."""
    exif = {f"EXIF {ExifTags.TAGS.get(tag, tag)}" for tag in image.getexif()}
    plain = {str(key) for key in image.info} - _NOT_METADATA
    if exif:
        plain.discard("exif")
    return exif | (plain - {"progressive", "progression"})


def _tables_name(tables: Mapping[int, Sequence[int]]) -> str:
    """`quality 95` for the tables of the IJG's library, else a digest of them."""
    key = tuple(tuple(tables[number]) for number in sorted(tables))
    name = _usual_tables().get(key)
    return name or f"tables {hashlib.sha256(repr(key).encode()).hexdigest()[:6]}"


@functools.cache
def _usual_tables() -> dict[Any, str]:
    """Names of the tables that Pillow, and so libjpeg, writes at each quality."""
    names: dict[Any, str] = {}
    for mode in ("RGB", "L"):
        for quality in range(1, 101):
            buffer = io.BytesIO()
            Image.new(mode, (8, 8)).save(buffer, "JPEG", quality=quality)
            with Image.open(buffer) as image:
                tables: Mapping[int, Sequence[int]] = getattr(image, "quantization")  # noqa: B009
            key = tuple(tuple(tables[number]) for number in sorted(tables))
            names.setdefault(key, f"quality {quality}")
    return names
