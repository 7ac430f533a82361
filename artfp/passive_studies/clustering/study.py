"""Clustering of an unlabelled folder by source, and fusion with a detector's scores."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.core.run_folder import exclusive, lock_folder
from artfp.data.files import write_atomic
from artfp.data.pixels import to_unit
from artfp.data.reading import (
    Failed,
    LoadedImage,
    UpperLeft,
    batch_images,
    read_images,
    stack_pixels,
)
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import limit_images
from artfp.data.tables import csv_text
from artfp.passive.residuals.extractor import Extractor, load_extractor
from artfp.passive_studies.clustering.cluster import cluster_residuals, measure_agreement
from artfp.passive_studies.clustering.fusion import FusedScores, fuse_scores
from artfp.passive_studies.clustering.report import (
    Clustering,
    clusters_csv,
    clusters_json,
    plot_clusters,
)
from artfp.passive_studies.clustering.settings import ClusterSettings
from artfp.stats.intervals import auc

_log = logging.getLogger("artfp")

FILES = ("clusters.csv", "clusters.json", "clusters.png")
"""Files that `cluster_images` writes."""

MAX_VALUES = 1 << 29
"""Values of all residuals together, at most (2 GiB)."""
MAX_IMAGES = 5000
"""Images that are clustered at once, at most: time and memory grow with their square."""

_BATCH_PIXELS = 1 << 18


@exclusive
def cluster_images(settings: ClusterSettings) -> Clustering:
    """Cluster images by source, with the number of sources unknown.

    As in section 5 of Marra et al. 2019 (arXiv 1812.11842), clusters can be fused with a detector's
    scores. clusters.csv, clusters.json and clusters.png are written into the output folder.

    Args:
        settings: Images, options of the clustering, and the output folder.

    Returns:
        Clusters, their agreement with the true sources and the fused scores if asked for, and
        images that could not be used.

    Raises:
        UserError: fewer than two images, more than fit in memory, or scores that do not match.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
        >>> for number in range(4):
        ...     pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        ...     Image.fromarray(pixels).save(f"{folder}/{number}.png")
        >>> found = cluster_images(ClusterSettings(
        ...     data_dir=folder, output_dir=f"{folder}.out", extractor="gaussian", cuda=-1
        ... ))
        >>> found.clusters.labels.tolist()
        [0, 0, 0, 0]
    """
    extractor = load_extractor(settings.extractor)
    failed: Failed = []
    source = limit_images(open_source(settings.data_dir), settings.limit)
    size = None if settings.size is None else (settings.size, settings.size)
    names, residuals = read_residuals(source, extractor, size, failed, settings.torch_device())
    truth = sources_from_folders(names) if settings.truth else None
    scores = None if settings.scores is None else read_detector_scores(settings.scores, names)
    clusters = cluster_residuals(residuals, settings)
    fused = None if scores is None else fuse_scores(scores, clusters.labels)
    measured = None
    if settings.real and truth is not None and scores is not None and fused is not None:
        measured = fusion_auc(settings.real, truth, scores, fused)
    found = Clustering(
        names,
        clusters,
        settings,
        extractor.text,
        truth,
        None if truth is None else measure_agreement(truth, clusters.labels),
        scores,
        fused,
        measured,
        failed,
    )
    contents: tuple[str | bytes, ...] = (
        clusters_csv(found),
        json.dumps(clusters_json(found), indent=1) + "\n",
        plot_clusters(found),
    )
    lock_folder(settings.output_dir)
    for name, content in zip(FILES, contents, strict=True):
        write_atomic(settings.output_dir / name, content)
    if failed and size is None:
        _log.warning("images of other sizes: give --size to crop all to one")
    return found


def read_residuals(
    source: ImageSource,
    extractor: Extractor,
    size: tuple[int, int] | None,
    failed: Failed,
    device: torch.device | str = "cpu",
) -> tuple[list[str], Tensor]:
    """Compute the noise residuals of images of one size.

    Args:
        source: Images.
        extractor: Extractor of noise residuals.
        size: (height, width) to which larger images are cropped; by default the first one's.
        failed: Gets images that are smaller or cannot be read, with the reasons.
        device: Torch device.

    Returns:
        Names and residuals (N, 3, H, W).

    Raises:
        UserError: fewer than two images, or more than fit in memory.
    """
    if len(source) > MAX_IMAGES:
        raise UserError(
            f"{source.location}: {len(source)} images; at most {MAX_IMAGES} are clustered at "
            "once: give --limit"
        )
    names: list[str] = []
    residuals: list[Tensor] = []
    with Progress("Extracting", len(source)) as progress:
        images = read_images(
            source, failed, prepare=UpperLeft(size), progress=progress, orientation=False
        )
        for batch in batch_images(_checked(images, source), _BATCH_PIXELS, _BATCH_PIXELS):
            pixels = stack_pixels([image.pixels for image in batch])
            residuals.append(extractor(to_unit(pixels.to(device))))
            names += [image.name for image in batch]
    if len(names) < 2:
        reason = f" ({': '.join(failed[0])})" if failed else ""
        raise UserError(f"{source.location}: {len(names)} images can be used; it takes two{reason}")
    return names, torch.cat(residuals)


def _checked(images: Iterable[LoadedImage], source: ImageSource) -> Iterator[LoadedImage]:
    """Yield images; raise a UserError at the first if all of its size would not fit in memory."""
    for number, image in enumerate(images):
        height, width = image.pixels.shape[:2]
        if not number and 3 * height * width * len(source) > MAX_VALUES:
            side = int(math.sqrt(MAX_VALUES / (3 * len(source))))
            raise UserError(
                f"{source.location}: {len(source)} images of {width}x{height} do not fit in "
                f"memory; give --size {min(side, height, width)} or --limit"
            )
        yield image


def sources_from_folders(names: Sequence[str]) -> list[str]:
    """Return the subfolder of each image.

    Raises:
        UserError: an image in none, or a single subfolder.
    """
    folders = []
    for name in names:
        folder, slash, _ = name.partition("/")
        if not slash:
            raise UserError(f"--truth: {name} is in no subfolder; expected one for each source")
        folders.append(folder)
    if len(set(folders)) < 2:
        raise UserError(f"--truth: all images are in {folders[0]}; expected two subfolders or more")
    return folders


def fusion_auc(
    real: Sequence[str],
    truth: Sequence[str],
    scores: NDArray[np.float64],
    fused: FusedScores,
) -> tuple[float, float]:
    """Return the AUC of scores (N,) and of the fused ones, generated against `real` sources.

    Raises:
        UserError: a name that is no source, or no generated source.
    """
    known = set(truth)
    if unknown := [name for name in real if name not in known]:
        raise UserError(f"--real: no subfolder {unknown[0]!r}; found {', '.join(sorted(known))}")
    negative = np.array([name in real for name in truth])
    if negative.all():
        raise UserError("--real: all subfolders are real; one must be generated")
    before, after = (auc(s[negative], s[~negative]) for s in (scores, fused.scores))
    return before, after


def read_detector_scores(path: str | Path, names: Sequence[str]) -> NDArray[np.float64]:
    """Read scores (N,) of images from a CSV file with the columns `file` and `score`.

    Files are named as in the source, or by their last part, where that is unique.

    Raises:
        UserError: no such file, columns or numbers, or an image without a score.
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
        name = csv_text(row["file"]).replace("\\", "/")
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
