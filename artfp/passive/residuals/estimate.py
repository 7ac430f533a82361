"""The fingerprint of a source from its image files, in one pass and constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed
from artfp.data.sources import ImageSource
from artfp.passive.residuals.extractor import Extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint

_BATCH_PIXELS = 1 << 18
"""Height times width of all images of a batch, at most, but for single images."""

_SIGNATURES = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG"),
    ("WEBP", 8, b"WEBP"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II"),
    ("TIFF", 0, b"MM"),
)


class _Image(NamedTuple):
    """Pixels (H, W, 3) uint8, cut to the fingerprint's size; the file's codec and its own size."""

    pixels: np.ndarray
    codec: str
    size: str


def estimate_fingerprint(
    source: ImageSource,
    extractor: Extractor,
    name: str,
    size: tuple[int, int] | None = None,
    weighted: bool = False,
    prepare: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> tuple[ResidualFingerprint, Failed]:
    """The fingerprint of a source's images, and those that could not be used.

    Images are never resized. `size` is the fingerprint's (height, width), by default that of the
    first image that can be read. Larger images are cut to it at the right and the bottom, before
    the extractor sees them: what a generator or JPEG lays out in blocks begins at the upper left.
    Smaller ones are left out. Each image is read once.

    `weighted` keeps what maximum likelihood needs; `prepare` maps images (N, 3, H, W) in [0, 1] to
    what the extractor takes, such as luminance; `progress` is told after each batch how many images
    are done.

    Raises UserError: no image can be used.
    """
    failed: Failed = []
    found: ResidualFingerprint | None = None
    for batch in _batches(_images(source, size, failed)):
        pixels = torch.from_numpy(np.stack([image.pixels for image in batch]))
        x = to_unit(pixels.to(device).permute(0, 3, 1, 2))
        x = prepare(x) if prepare else x
        residuals = extractor(x)
        if found is None:
            shape = residuals.shape[1:]
            found = ResidualFingerprint.empty(shape, extractor.text, name, weighted)
        found.add(residuals, x if weighted else None)
        found.codecs.update(image.codec for image in batch)
        found.sizes.update(image.size for image in batch)
        if progress:
            progress(found.count + len(failed))
    if found is None:
        reason = f" ({failed[0][0]}: {failed[0][1]})" if failed else ""
        raise UserError(f"{source.location}: no image can be used{reason}")
    return found, failed


def codec_of(data: bytes) -> str:
    """JPEG, PNG, WEBP, BMP or TIFF by the first bytes of an image file; "unknown" for others."""
    for codec, at, signature in _SIGNATURES:
        if data[at : at + len(signature)] == signature:
            return codec
    return "unknown"


def _images(source: ImageSource, size: tuple[int, int] | None, failed: Failed) -> Iterator[_Image]:
    """Images of one size; those that cannot be used go to `failed`."""
    for index, name in enumerate(source.names):
        try:
            data = source.read(index)
            pixels = decode_image(data).pixels
        except ImageError as error:
            failed.append((name, str(error)))
            continue
        height, width = pixels.shape[:2]
        size = size or (height, width)
        if height < size[0] or width < size[1]:
            failed.append(
                (name, f"{width}x{height} is smaller than the fingerprint, {size[1]}x{size[0]}")
            )
            continue
        yield _Image(pixels[: size[0], : size[1]], codec_of(data), f"{width}x{height}")


def _batches(images: Iterable[_Image]) -> Iterator[list[_Image]]:
    batch: list[_Image] = []
    pixels = 0
    for image in images:
        batch.append(image)
        pixels += image.pixels.shape[0] * image.pixels.shape[1]
        if pixels + image.pixels.shape[0] * image.pixels.shape[1] > _BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch
