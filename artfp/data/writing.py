"""Encoded images, zip archives of them, and threads that write."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.budget import PixelBudget
from artfp.data.files import replacing
from artfp.data.image_files import ImageError
from artfp.data.naming import DATASET_JSON, renamed_dataset_json

_WRITTEN_PIXELS = 1 << 25
"""Pixels that all threads of a writer work on at once, at most; each takes some 20 bytes."""


@dataclass(frozen=True)
class Format:
    """Format of output files.

    Attributes:
        suffix: Ending of the file's name, with its dot.
        lossless: Whether the pixels come back as they were.
        keeps_icc: Whether it holds an ICC profile.
        options: Arguments of Pillow's `save`.
    """

    suffix: str
    lossless: bool
    keeps_icc: bool = True
    options: dict[str, Any] = field(default_factory=dict)


FORMATS = {
    # Measured on 128x128 photographs, one core: run-length matching takes 1.1 ms and 30.2 KiB an
    # image; zlib's level 1 takes 1.3 ms and 30.0 KiB, its level 6 (Pillow's default) 3.0 ms and
    # 29.3 KiB. The level has no effect on run-length matching.
    "png": Format(".png", True, options={"compress_level": 1, "compress_type": zlib.Z_RLE}),
    # The same photographs: 0.5 ms and 24.0 KiB, against 14.4 ms and 21.9 KiB by default.
    "webp": Format(".webp", True, options={"lossless": True, "quality": 0, "method": 0}),
    "bmp": Format(".bmp", True, keeps_icc=False),
    "tiff": Format(".tiff", True),
    # Lossy: what is written is not what was fingerprinted.
    "jpeg": Format(".jpg", False, options={"quality": 95, "subsampling": 0}),
}
"""Formats of output files by name. All are lossless but jpeg; png is the default."""


def suffix_of(format: str) -> str:
    """Return the file name ending of a format, with its dot.

    Raises:
        UserError: not one of `FORMATS`.
    """
    return _format(format).suffix


def encode_image(
    pixels: np.ndarray, format: str = "png", icc_profile: bytes | None = None
) -> bytes:
    """Encode an image as a file.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        format: One of `FORMATS`: "png", "webp", "bmp", "tiff", all lossless, or "jpeg".
        icc_profile: Bytes of the ICC profile of the pixels; BMP leaves it out.

    Returns:
        The bytes of the file.

    Raises:
        UserError: not one of `FORMATS`.
        ImageError: the format cannot hold the image (WebP ends at 16383 pixels a side, JPEG at
            65535).

    Example:
        >>> encode_image(np.zeros((4, 6, 3), np.uint8))[1:4]
        b'PNG'
    """
    chosen = _format(format)
    options = dict(chosen.options)
    if icc_profile is not None and chosen.keeps_icc:
        options["icc_profile"] = icc_profile
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, format, **options)
    except MemoryError:
        raise ImageError(f"not enough memory to write it as {format}") from None
    except (OSError, ValueError) as error:
        height, width = pixels.shape[:2]
        raise ImageError(f"{width}x{height} cannot be written as {format}: {error}") from None
    return buffer.getvalue()


def pack_zip(
    folder: Path,
    names: Sequence[str],
    destination: Path,
    dataset_json: dict[str, Any] | None = None,
) -> None:
    """Pack files of a folder into an uncompressed zip: the same bytes in, the same zip out.

    An equal zip that is there already is left alone.

    Args:
        folder: Where the files lie.
        names: Their paths in it. Undecodable bytes are written %FF, since a zip can hold them no
            other way.
        destination: The zip.
        dataset_json: Becomes `dataset.json` at the top.

    Raises:
        UserError: a file is missing, two names become one, or the zip cannot be written.
    """
    members = {name: _zip_name(name) for name in names}
    if len(set(members.values())) != len(names):
        raise UserError(f"{destination}: two of the images would have one name in the archive")
    with replacing(destination, True) as file, zipfile.ZipFile(file, "w") as archive:
        if dataset_json is not None:
            text = json.dumps(renamed_dataset_json(dataset_json, members))
            archive.writestr(_member(DATASET_JSON), text)
        for name, member in members.items():
            archive.writestr(_member(member), (folder / name).read_bytes())


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UserError(f"image format is {name!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _zip_name(name: str) -> str:
    return re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", name)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3  # Unix, wherever it is made
    member.external_attr = 0o644 << 16
    return member


_THREADS = 8
"""More than there may be CPUs: they wait for the disk, which writes files together."""


class BackgroundWriter:
    """Threads that encode and write images while the network works on the next batch.

    At most two batches wait. An error in a thread is raised by the next call. Tasks on large images
    hold their pixels of `budget`.
    """

    def __init__(self) -> None:
        self.budget = PixelBudget(_WRITTEN_PIXELS)
        self._threads = ThreadPoolExecutor(_THREADS)
        self._batches: list[list[Future[None]]] = []

    def submit(self, task: Any, arguments: list[tuple[Any, ...]]) -> None:
        """Run `task(*a)` for every a of a batch; waits while two batches are unfinished."""
        while len(self._batches) >= 2:
            self._settle(self._batches.pop(0))
        self._batches.append([self._threads.submit(task, *each) for each in arguments])

    def finish(self) -> None:
        """Wait until all batches are written."""
        while self._batches:
            self._settle(self._batches.pop(0))

    def cancel(self) -> None:
        """Drop what no thread has begun, so that the process ends soon."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _settle(batch: list[Future[None]]) -> None:
        for future in batch:
            future.result()
