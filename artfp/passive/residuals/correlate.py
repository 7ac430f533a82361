"""Correlation of images with the residual fingerprints of several sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import numpy as np

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.files import write_atomic
from artfp.data.image_files import ImageError
from artfp.data.pixels import as_batch
from artfp.data.reading import Failed, UpperLeft, read_images
from artfp.data.sources import open_source
from artfp.data.tables import csv_table
from artfp.passive.residuals.extractor import load_extractor
from artfp.passive.residuals.prnu import clean_residuals, compare_residuals, pce, reference_patterns
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive.residuals.settings import CorrelateSettings

MIN_PIECE = 16
"""Least side in pixels of an image that is searched for in a fingerprint."""


@dataclass(frozen=True)
class CorrelationTable:
    """Scores of images with the residual fingerprints of K sources.

    Args:
        sources: Names of the sources.
        scores: For each image its name and K scores: correlations in [-1, 1], or peak-to-
            correlation energies.
        failed: Names of images that could not be used, with reasons.
        shifts: For each image K positions (down, right) in pixels of its upper-left corner in the
            fingerprints, at the peak; empty unless shifts were searched.

    Example:
        >>> table = CorrelationTable(("nikon", "canon"), {"a.png": (0.01, 0.3)}, [])
        >>> print(table.to_csv(), end="")
        image,highest,nikon,canon
        a.png,canon,0.01,0.3
    """

    sources: tuple[str, ...]
    scores: dict[str, tuple[float, ...]]
    failed: Failed
    shifts: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def highest(self, image: str) -> str:
        """Return the source with the largest score of an image."""
        scores = self.scores[image]
        return self.sources[scores.index(max(scores))]

    def to_csv(self) -> str:
        """Return a line for each image: its name, the source with the largest score, all scores.

        Where shifts were searched, the positions that were found follow, of each source.
        """
        rows = [
            [name, self.highest(name), *scores, *chain(*self.shifts.get(name, ()))]
            for name, scores in self.scores.items()
        ]
        places = [f"{name} {way}" for name in self.sources for way in ("down", "right")]
        columns = ["image", "highest", *self.sources, *(places if self.shifts else [])]
        return csv_table(rows, columns, floats=".6g")


def correlate_images(settings: CorrelateSettings) -> CorrelationTable:
    """Correlate noise residuals of images with residual fingerprints of sources.

    What `artfp attribute correlate` does: the normalised correlation of Marra et al. 2019 (arXiv
    1812.11842), by default.

    Args:
        settings: Images, files of residual fingerprints, and how they are compared.

    Returns:
        Scores of all images that could be used. With `output` they are also written there, as CSV.

    Raises:
        UserError: no image can be used, or the fingerprints cannot be compared.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> from artfp.passive.residuals import load_extractor
        >>> folder = tempfile.mkdtemp()
        >>> pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        >>> Image.fromarray(pixels).save(f"{folder}/noise.png")
        >>> known = ResidualFingerprint.empty((3, 32, 32), "gaussian", "camera")
        >>> known.add(load_extractor("gaussian")(as_batch(pixels)))
        >>> known.save(f"{folder}/camera.safetensors")
        >>> files = (f"{folder}/camera.safetensors",)
        >>> found = correlate_images(
        ...     CorrelateSettings(data_dir=folder, residual_fingerprints=files, cuda=-1)
        ... )
        >>> round(found.scores["noise.png"][0], 3)
        1.0
    """
    known = [ResidualFingerprint.load(path) for path in settings.residual_fingerprints]
    names = tuple(each.source for each in known)
    if len(set(names)) < len(names):
        raise UserError(
            f"--residual_fingerprints: sources {', '.join(names)}; each takes its own name"
        )
    device = settings.torch_device()
    references = reference_patterns(known, settings).to(device)
    extractor, source = load_extractor(known[0].extractor), open_source(settings.data_dir)
    table = CorrelationTable(names, {}, [])
    with Progress("Correlating", len(source)) as progress:
        height, width = known[0].shape[1:]
        crop = partial(_cut, (height, width)) if settings.shifted else UpperLeft((height, width))
        images = read_images(
            source, table.failed, prepare=crop, progress=progress, orientation=False
        )
        for image in images:  # one by one, so that no score depends on the other images
            cleaned = clean_residuals(extractor(as_batch(image.pixels).to(device)), settings)
            if not settings.shifted:
                scores = compare_residuals(cleaned, references, settings)[0]
                table.scores[image.name] = tuple(scores.tolist())
                continue
            found, side = pce(cleaned, references, settings.max_shift), cleaned.shape[2:]
            table.scores[image.name] = tuple(found.pce[0].tolist())
            table.shifts[image.name] = tuple(
                (place_of(-down, side[0], height), place_of(-right, side[1], width))
                for down, right in found.shift[0].tolist()
            )
    if not table.scores:
        name, reason = table.failed[0]
        raise UserError(f"{source.location}: no image can be used ({name}: {reason})")
    if settings.output is not None:
        write_atomic(settings.output, table.to_csv())
    return table


def place_of(offset: int, side: int, whole: int) -> int:
    """Return where a piece begins in a whole, of what a circular offset may mean.

    That is the offset at which the least of the piece lies outside.

    Example:
        >>> place_of(-30, 24, 48), place_of(-3, 48, 48)
        (18, -3)
    """
    places = {offset % whole, offset % whole - whole}
    return min(places, key=lambda place: (max(-place, place + side - whole, 0), abs(place)))


def _cut(size: tuple[int, int], pixels: np.ndarray) -> np.ndarray:
    """Cut images that are larger than a size; refuse what is too small for a peak to stand out."""
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_PIECE:
        raise ImageError(f"{width}x{height} is smaller than {MIN_PIECE}x{MIN_PIECE}")
    return pixels[: size[0], : size[1]]
