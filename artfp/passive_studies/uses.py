"""Uses of images in a study: what each of them decided, estimated, trained or tested."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_log = logging.getLogger("artfp")

USES_FILE = "images.csv"
"""File that says what each image was used for."""

Use = Literal["fingerprint", "training", "validation", "test", "unused"]
"""Uses of an image: to estimate a fingerprint, to train a network, to decide thresholds or to
validate and calibrate, to test; none."""


@dataclass(frozen=True)
class ImageUse:
    """Use of an image in a study.

    Args:
        source: Source of the image.
        image: Its name there.
        used_for: Its use.
        sha256: Digest of its file, if it was read.
    """

    source: str
    image: str
    used_for: Use
    sha256: str = ""


def shared_images(
    uses: Sequence[ImageUse], others: Sequence[ImageUse]
) -> list[tuple[ImageUse, ImageUse]]:
    """Return pairs of equal files with different uses, one of `uses` and one of `others`."""
    known = {use.sha256: use for use in uses if use.sha256}
    pairs = [(known[use.sha256], use) for use in others if use.sha256 in known]
    return [(one, other) for one, other in pairs if one.used_for != other.used_for]


def warn_of_shared(uses: Sequence[ImageUse]) -> None:
    """Warn of test images whose files are also among those that fit or decide."""
    tested = [use for use in uses if use.used_for == "test"]
    others = [use for use in uses if use.used_for not in ("test", "unused")]
    if pairs := shared_images(others, tested):
        one, other = pairs[0]
        _log.warning(
            "test images are also used for something else (%d), such as %s/%s (%s: %s/%s): "
            "accuracy is overestimated",
            len(pairs), other.source, other.image, one.used_for, one.source, one.image,
        )  # fmt: skip
