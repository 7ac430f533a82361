"""An unlabelled folder in clusters by source, and a detector's scores fused with them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, LoadedImage, UpperLeft, read_images, stack_pixels
from artfp.data.sources import ImageSource
from artfp.passive.residuals.extractor import Extractor
from artfp.passive_studies.clustering.fusion import Fused
from artfp.stats.intervals import auc

MOST_VALUES = 1 << 29
"""Values of all residuals together, at most (2 GiB)."""
MOST_IMAGES = 5000
"""Images that are clustered at once, at most: time and memory grow with their square."""

_BATCH_PIXELS = 1 << 18


def gathered(
    source: ImageSource,
    extractor: Extractor,
    size: tuple[int, int] | None,
    failed: Failed,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> tuple[list[str], Tensor]:
    """Names and residuals (N, 3, H, W) of images of one (height, width), by default the first's.

    Larger images are cut to it; `failed` gets those that are smaller or cannot be read.

    Raises UserError: fewer than two images, or more than can be held.
    """
    if len(source) > MOST_IMAGES:
        raise UserError(
            f"{source.location}: {len(source)} images; at most {MOST_IMAGES} are clustered at "
            "once: give --limit"
        )
    names: list[str] = []
    found: list[Tensor] = []
    batch: list[LoadedImage] = []

    def work() -> None:
        pixels = stack_pixels([image.pixels for image in batch])
        found.append(extractor(to_unit(pixels.to(device))))
        names.extend(image.name for image in batch)
        batch.clear()
        if progress:
            progress(len(names) + len(failed))

    for image in read_images(source, failed, prepare=UpperLeft(size)):
        height, width = image.pixels.shape[:2]
        if not found and not batch and 3 * height * width * len(source) > MOST_VALUES:
            side = int(math.sqrt(MOST_VALUES / (3 * len(source))))
            raise UserError(
                f"{source.location}: {len(source)} images of {width}x{height} are too much to "
                f"hold; give --size {min(side, height, width)} or --limit"
            )
        batch.append(image)
        if (len(batch) + 1) * height * width > _BATCH_PIXELS:
            work()
    if batch:
        work()
    if len(names) < 2:
        reason = f" ({': '.join(failed[0])})" if failed else ""
        raise UserError(f"{source.location}: {len(names)} images can be used; it takes two{reason}")
    return names, torch.cat(found)


def true_sources(names: Sequence[str]) -> list[str]:
    """The subfolder of each image. Raises UserError: an image in none, or a single subfolder."""
    folders = []
    for name in names:
        folder, slash, _ = name.partition("/")
        if not slash:
            raise UserError(f"--truth: {name} is in no subfolder; expected one for each source")
        folders.append(folder)
    if len(set(folders)) < 2:
        raise UserError(f"--truth: all images are in {folders[0]}; expected two subfolders or more")
    return folders


def areas(
    real: Sequence[str],
    truth: Sequence[str],
    scores: NDArray[np.float64],
    fused: Fused,
) -> tuple[float, float]:
    """AUC of scores (N,) and of the fused ones, generated against the `real` sources' images.

    Raises UserError: a name that is no source's, or nothing left to compare with.
    """
    known = set(truth)
    if unknown := [name for name in real if name not in known]:
        raise UserError(f"--real: no subfolder {unknown[0]!r}; found {', '.join(sorted(known))}")
    negative = np.array([name in real for name in truth])
    if negative.all():
        raise UserError("--real: all subfolders are real; one must be generated")
    before, after = (auc(s[negative], s[~negative]) for s in (scores, fused.scores))
    return before, after


def read_scores(path: str | Path, names: Sequence[str]) -> NDArray[np.float64]:
    """Scores (N,) of images from a CSV file with the columns `file` and `score`.

    Files are named as in the source, or by their last part, where that is no other image's.

    Raises UserError: no such file, columns or numbers, or an image without a score.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from None
    if not {"file", "score"} <= set(reader.fieldnames or ()):
        columns = ", ".join(reader.fieldnames or ()) or "nothing"
        raise UserError(f"{path}: found the columns {columns}; expected file and score")
    whole: dict[str, float] = {}
    last: dict[str, list[float]] = {}
    for number, row in enumerate(rows, 2):
        try:
            value = float(row["score"])
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value) or not row["file"]:
            raise UserError(f"{path}: row {number}: {row['score']!r} is no score of an image")
        name = row["file"].replace("\\", "/")
        whole[name] = value
        last.setdefault(name.rpartition("/")[2], []).append(value)
    found = []
    for name in names:
        own = last.get(name.rpartition("/")[2], [])
        value = whole.get(name, own[0] if len(own) == 1 else math.nan)
        if math.isnan(value):
            raise UserError(f"{path}: no score of {name}, or several files of that name")
        found.append(value)
    return np.array(found)
