"""The report of a detection: one HTML file that needs nothing else, for the screen and for print.

It shows the contents that `audit.report` made, and holds them as JSON:

    <script type="application/json" id="artfp-detection">
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from artfp.audit.svg import agreement_strip, histogram, match_bar
from artfp.core.errors import one_line
from artfp.data.decode import decode_image
from artfp.data.image_files import ImageError, image_errors
from artfp.data.sources import ImageSource

MAX_LISTED = 2000
"""Images that a report lists: those with the strongest evidence. The table of the run has all."""

IMAGES_PER_FOLD = 50
"""Images in one fold of the report."""

_log = logging.getLogger("artfp")

_SIDE = 80
_MAX_BYTES = 6_000_000
"""Bytes of thumbnails in one report; what comes after that goes without."""

_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}

Contents = Mapping[str, Any]


def listed(report: Contents) -> list[dict[str, Any]]:
    """Return the evidence that a page shows, the strongest first."""
    found = sorted(report["evidence"], key=lambda image: -image["matches"])
    return found[:MAX_LISTED]


def thumbnails(source: ImageSource, report: Contents) -> dict[str, str]:
    """Return small JPEG pictures of the listed images as data: URLs, by name.

    Images that cannot be read any more, are not those that were decoded (by the `sha256` of the
    report), or came too late for the size of a report, have none.
    """
    positions = {name: i for i, name in enumerate(source.names)}
    made: dict[str, str] = {}
    size = changed = 0
    for image in listed(report):
        if size > _MAX_BYTES:
            break
        try:
            with image_errors():
                data = source.read(positions[image["name"]])
                if hashlib.sha256(data).hexdigest() != image["sha256"]:
                    changed += 1
                    continue
                url = _thumbnail(Image.fromarray(decode_image(data).pixels))
        except ImageError:
            continue
        made[image["name"]] = url
        size += len(url)
    if changed:
        _log.warning("warning: images that changed after they were decoded: %d", changed)
    return made


def render(report: Contents, pictures: Mapping[str, str]) -> str:
    """Return the page, in UTF-8, of a `report` and of `pictures` of its images by name."""
    shown = listed(report)
    bits, threshold = report["bits"], report["threshold"]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, followlinks=True),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["strip"] = lambda image: (
        agreement_strip(image["agreement"], threshold)
        if "agreement" in image
        else match_bar(image["matches"], bits, threshold)
    )
    environment.filters["p"] = power_of_ten
    matches = [image["matches"] for image in report["evidence"]]
    keys = report["sought"]["fingerprints"]
    return environment.get_template("audit.html").render(
        report=report,
        verdict=report["verdict"],
        pages=list(_pages(shown)),
        pictures=pictures,
        left_out=len(report["evidence"]) - len(shown),
        histogram=histogram(matches, bits, keys, threshold) if matches else None,
        copy=embed_json(
            {**report, "evidence": shown, "unreadable": report["unreadable"][:MAX_LISTED]}
        ),
        unreadable=report["unreadable"][:MAX_LISTED],
    )


def embed_json(content: object) -> Markup:
    """Return JSON that an HTML parser cannot take for the end of its script element.

    It is ASCII, with <, > and & as escapes; U+2028 and lone surrogates are escapes anyway.
    """
    return Markup(json.dumps(content, allow_nan=False).translate(_ESCAPED))


def power_of_ten(log10: float) -> str:
    """Write a probability from its decimal logarithm: `0.35`, or `6.3 x 10^-30` in Unicode."""
    if log10 > -3:
        return f"{10**log10:.2g}"
    exponent = math.floor(log10)
    digits = f"{10 ** (log10 - exponent):.1f}"
    if digits == "10.0":
        digits, exponent = "1.0", exponent + 1
    raised = str(-exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits} \u00d7 10\u207b{raised}"


def _thumbnail(image: Image.Image) -> str:
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode("ascii")


def _shown(value: object) -> object:
    """A value as the page shows it: without characters that break a line or reverse the text."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _pages(images: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(images), IMAGES_PER_FOLD):
        page = images[start : start + IMAGES_PER_FOLD]
        yield {
            "first": start + 1,
            "last": start + len(page),
            "matches": sum(image["verdict"] == "match" for image in page),
            "images": page,
        }
