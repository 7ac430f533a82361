"""Sets of images: read one after another, in batches, in memory or on disk."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.decode import decode_image, log_composited
from artfp.data.geometry import Geometry
from artfp.data.image_files import ImageError, image_errors
from artfp.data.sources import ImageSource

Failed = list[tuple[str, str]]
"""Names of images that could not be used, with the reasons."""

Prepare = Callable[[np.ndarray], np.ndarray]
"""Maps pixels (H, W, 3) to those that are used, such as a `Geometry`; raises ImageError."""

_BATCH_PIXELS = 1 << 22
"""Pixels of a batch of several images, at most."""


@dataclass(frozen=True)
class LoadedImage:
    """Image of a source that could be read.

    Attributes:
        index: Its place in the source.
        name: Its name there.
        data: The bytes of its file.
        pixels: (H, W, 3) uint8, as they are used.
        size: (height, width) of the whole image.

    Example:
        >>> pixels = np.zeros((2, 3, 3), np.uint8)
        >>> LoadedImage(0, "a.png", b"", pixels, (4, 6)).pixels.shape
        (2, 3, 3)
    """

    index: int
    name: str
    data: bytes
    pixels: np.ndarray
    size: tuple[int, int]


_Image = TypeVar("_Image", LoadedImage, np.ndarray)


def read_images(
    source: ImageSource,
    failed: Failed,
    indices: Iterable[int] | None = None,
    prepare: Prepare | None = None,
    progress: Progress | None = None,
    orientation: bool = True,
) -> Iterator[LoadedImage]:
    """Yield the images of a source that can be used, one in memory at a time.

    Args:
        source: Where they come from.
        failed: Gets the name and the reason of each image that cannot be used.
        indices: Which images, in which order; None: all.
        prepare: What is done to the pixels of each; an ImageError that it raises is the reason why
            the image is not used.
        progress: Is moved by one for each image, usable or not, once the loop is done with it.
        orientation: Whether EXIF orientation is applied. What lies in the frame of the sensor or
            of the generator, such as residuals, is read without.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> class OneImage:
        ...     location, names, dataset_json = "memory", ["gray.png"], None
        ...     def read(self, index):
        ...         Image.new("RGB", (6, 4), "gray").save(file := io.BytesIO(), "PNG")
        ...         return file.getvalue()
        ...     def __len__(self):
        ...         return 1
        >>> for image in read_images(OneImage(), failed := [], prepare=Geometry(2)):
        ...     print(image.name, image.pixels.shape, "of", image.size)
        gray.png (2, 2, 3) of (4, 6)
    """
    composited = 0
    for index in range(len(source)) if indices is None else indices:
        try:
            with image_errors():
                data = source.read(index)
                picture = decode_image(data, orientation=orientation)
                whole = picture.pixels
                pixels = prepare(whole) if prepare else whole
        except ImageError as error:
            failed.append((source.names[index], str(error)))
        else:
            composited += picture.composited
            size = (whole.shape[0], whole.shape[1])
            yield LoadedImage(index, source.names[index], data, pixels, size)
        if progress is not None:
            progress.advance()
    log_composited(composited)


class UpperLeft:
    """Function that cuts images to one size at the right and the bottom, and refuses smaller ones.

    What a generator or JPEG lays out in blocks begins at the upper left.

    Args:
        size: (height, width); None: those of the first image.
        exact: Whether larger images are refused too.

    Example:
        >>> UpperLeft((2, 3))(np.zeros((4, 4, 3), np.uint8)).shape
        (2, 3, 3)
    """

    def __init__(self, size: tuple[int, int] | None = None, exact: bool = False) -> None:
        self.size, self.exact = size, exact

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the piece (h, w, 3).

        Raises:
            ImageError: the image is too small, or of another size where that is refused.
        """
        height, width = pixels.shape[:2]
        rows, columns = self.size = self.size or (height, width)
        if height < rows or width < columns or (self.exact and (height, width) != self.size):
            relation = "not" if self.exact else "is smaller than"
            raise ImageError(f"{width}x{height} {relation} {columns}x{rows}")
        return pixels[:rows, :columns]


def batch_images(
    images: Iterable[_Image], most: int = 32, pixels: int = _BATCH_PIXELS
) -> Iterator[list[_Image]]:
    """Yield images in batches of one shape; each image comes once, those of a shape in order.

    Images of rare shapes wait for others, until eight times `pixels` wait.

    Args:
        images: Loaded images, or arrays (H, W, 3), of any shapes.
        most: Images of a batch, at most.
        pixels: Pixels of a batch of several images, at most.

    Example:
        >>> images = [np.zeros((side, side, 3), np.uint8) for side in (2, 4, 2, 2)]
        >>> [len(batch) for batch in batch_images(images, most=2)]
        [2, 1, 1]
    """
    waiting: dict[tuple[int, ...], list[_Image]] = defaultdict(list)

    def area(shape: tuple[int, ...]) -> int:
        return len(waiting[shape]) * shape[0] * shape[1]

    for image in images:
        shape = image.pixels.shape if isinstance(image, LoadedImage) else image.shape
        waiting[shape].append(image)
        if len(waiting[shape]) == most or area(shape) + shape[0] * shape[1] > pixels:
            yield waiting.pop(shape)
        elif sum(map(area, waiting)) > 8 * pixels:
            yield waiting.pop(max(waiting, key=area))
    yield from waiting.values()


def stack_pixels(images: Sequence[np.ndarray]) -> Tensor:
    """Return images (H, W, 3) of one shape, 8-bit, as a tensor (N, 3, H, W).

    Args:
        images: One image or more.

    Example:
        >>> stack_pixels([np.zeros((4, 6, 3), np.uint8)] * 2).shape
        torch.Size([2, 3, 4, 6])
    """
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def load_images(source: ImageSource, geometry: Geometry, count: int) -> tuple[Tensor, Failed]:
    """Return the first images of a source as one tensor, and those that could not be used.

    Args:
        source: Where they come from.
        geometry: How they are cut and resized.
        count: How many are tried, at most.

    Returns:
        8-bit images (N, 3, H, W); names with reasons.

    Raises:
        UserError: none can be used, or they are of several sizes.
    """
    failed: Failed = []
    indices = range(min(count, len(source)))
    found = [image.pixels for image in read_images(source, failed, indices, geometry)]
    if not found:
        raise UserError(f"{source.location}: no image can be read ({failed[0][1]})")
    sizes = {pixels.shape for pixels in found}
    if len(sizes) > 1:
        raise UserError(f"{source.location}: images of {len(sizes)} sizes; give --image_resolution")
    return stack_pixels(found), failed


class Spool:
    """8-bit images (H, W, 3) of any sizes in a file without a name, which ends with the process.

    A sequence for reading. The file lies in `folder`, or in the nearest folder above that there is,
    or else where temporary files go.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._offsets = [0]
        while folder is not None and not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def append(self, pixels: np.ndarray) -> None:
        """Keep one more image.

        Raises:
            UserError: no space.
        """
        try:
            self._file.seek(self._offsets[-1])
            self._file.write(np.ascontiguousarray(pixels, dtype=np.uint8).data)
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"no place for {len(self)} images: {error.strerror or error}; give fewer (--limit)"
            ) from None
        self.shapes.append(pixels.shape)
        self._offsets.append(self._offsets[-1] + prod(pixels.shape))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return image `index`, (H, W, 3), uint8; the caller's own."""
        pixels = np.empty(self.shapes[index], np.uint8)
        self._file.seek(self._offsets[index])
        self._file.readinto(pixels.data)
        return pixels

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def equal_batches(shapes: Sequence[tuple[int, ...]], batch_size: int) -> list[list[int]]:
    """Return indices in batches of images of one shape: each once, in order within a shape.

    At most `batch_size` each, and fewer where images are large.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        groups[shape].append(index)
    batches = []
    for shape, indices in groups.items():
        step = max(1, min(batch_size, _BATCH_PIXELS // (shape[0] * shape[1])))
        batches += [indices[start : start + step] for start in range(0, len(indices), step)]
    return batches
