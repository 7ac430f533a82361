"""Images that an attributor is fitted to: cropped by its policy, decoded on disk, in folds.

Sites and messengers recompress images. So each image can be joined by a copy of it after JPEG, of a
quality drawn for it (QUALITIES), which belongs to the same source and fold.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress, track
from artfp.data.decode import image_size
from artfp.data.image_files import ImageError
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.reading import Failed, Spool, read_images, stack_pixels
from artfp.data.sources import ImageSource
from artfp.data.subset import hash_fraction, limit_images
from artfp.passive.attributors.window import central_window, choose_policy
from artfp.passive.residuals.estimate import codec_of
from artfp.perturbations.registry import PERTURBATIONS

FOLDS = 10
"""Folds of the cross-validation."""

MIN_IMAGES = 40
"""Usable images of a source to fit an attributor to, at least."""

QUALITIES = (75, 100)
"""JPEG qualities of recompressed copies, 4:2:0, drawn uniformly from this range."""

AS_IS, RECOMPRESSED = 0, 1
"""States of images; the scores of each state have distributions of their own."""

_BATCH_PIXELS = 1 << 18
_MAX_BATCH = 256


class ImageSet:
    """Images of several sources in a spool, all of the policy's size.

    A recompressed copy comes right after its original, and counts as an image.

    Args:
        sources: Images of each source by its name.
        policy: Kind of the window policy, see `choose_policy`.
        window: Side of the window in pixels, see `choose_policy`.
        limit: Images of each source, at most.
        min_images: Usable images of each source, at least.
        recompress: Whether a recompressed copy of each image is added.
        seed: Seed of folds, window positions and qualities.
        folder: Folder near which the decoded images are kept.

    Attributes:
        sources: Names of the K sources.
        labels: Number of the source of each of N images, those of a source together.
        folds: Fold of each image. It depends on name and seed alone, so that images of one name in
            several sources stay together.
        offsets: (N, 2) positions of the windows.
        states: AS_IS or RECOMPRESSED of each image.
        names: Name of each image in its source; a copy has that of its original.
        hashes: SHA-256 of each image's file.
        digest: SHA-256 of the names and contents of all files.
        failed: Images that could not be used, with the reasons.

    Raises:
        UserError: fewer than `min_images` images of a source can be used.
    """

    def __init__(
        self,
        sources: Mapping[str, ImageSource],
        *,
        policy: str | None = None,
        window: int | None = None,
        limit: int | None = None,
        min_images: int = MIN_IMAGES,
        recompress: bool = False,
        seed: int = 0,
        folder: Path | None = None,
    ) -> None:
        chosen = {name: limit_images(source, limit) for name, source in sources.items()}
        self.sources = tuple(chosen)
        self.failed: Failed = []
        self.codecs: dict[str, Counter[str]] = {name: Counter() for name in chosen}
        self.sizes: dict[str, Counter[str]] = {name: Counter() for name in chosen}
        self.policy = choose_policy(self._read_sizes(chosen), policy, window)
        self._spool = Spool(folder)
        self._digest = hashlib.sha256()
        self._hashes: list[str] = []
        self._recompress, self._seed = recompress, seed
        labels, names = [], []
        with Progress("Reading images", sum(map(len, chosen.values()))) as progress:
            for number, (name, source) in enumerate(chosen.items()):
                usable = self._read(name, source, progress)
                if len(usable) < min_images:
                    first = self.failed[0][1] if self.failed else ""
                    reason = f"; the first that cannot: {first}" if first else ""
                    raise UserError(
                        f"{source.location}: {len(usable)} of {len(source)} images can be used, a "
                        f"source takes {min_images}{reason}"
                    )
                labels += [number] * len(usable)
                names += usable
        states = (AS_IS, RECOMPRESSED) if recompress else (AS_IS,)
        repeats = len(states)
        self.names = [name for name in names for _ in states]
        self.hashes = [digest for digest in self._hashes for _ in states]
        self.labels = np.repeat(np.array(labels, np.int64), repeats)
        self.states = np.tile(np.array(states, np.int64), len(names))
        drawn = [hash_fraction(f"fold {seed} {name}") for name in names]
        self.folds = np.repeat((np.array(drawn) * FOLDS).astype(np.int64), repeats)
        self.offsets = np.repeat(self._offsets(names, seed), repeats, axis=0)
        self.digest = self._digest.hexdigest()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def originals(self) -> int:
        """Number of images without the recompressed copies."""
        return int((self.states == AS_IS).sum())

    def subset_rows(self, count: int) -> NDArray[np.int64]:
        """Return rows of at most `count` images of each source, and those of their copies."""
        originals = np.flatnonzero(self.states == AS_IS)
        rows = [originals[self.labels[originals] == k] for k in range(len(self.sources))]
        picked = np.concatenate([each[:: max(1, -(-len(each) // count))] for each in rows])
        return np.sort(np.concatenate([picked, picked + 1])) if self.states.any() else picked

    def batches(
        self,
        rows: NDArray[np.int64] | None = None,
        device: torch.device | str = "cpu",
        caption: str = "",
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Yield rows with their images (n, 3, H, W) in [0, 1], each batch of one source and fold.

        Args:
            rows: Which images; None for all.
            device: Where the images are wanted.
            caption: Caption of the progress that is shown; empty for none.
        """
        rows = np.arange(len(self)) if rows is None else rows
        found = self._batches(rows, device)
        return track(found, len(rows), caption, lambda batch: len(batch[0])) if caption else found

    def _batches(
        self, rows: NDArray[np.int64], device: torch.device | str
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        height, width = self.policy.size
        step = max(1, min(_MAX_BATCH, _BATCH_PIXELS // (height * width)))
        for label in np.unique(self.labels[rows]):
            for fold in range(FOLDS):
                own = rows[(self.labels[rows] == label) & (self.folds[rows] == fold)]
                for start in range(0, len(own), step):
                    part = own[start : start + step]
                    pixels = stack_pixels([self._spool[i] for i in part.tolist()])
                    yield part, to_unit(pixels.to(device))

    def windows(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the policy's window of each of these images, at its offset."""
        height, width = self.policy.window
        if (height, width) == tuple(x.shape[-2:]):
            return x
        pieces = [
            image[:, top : top + height, left : left + width]
            for image, (top, left) in zip(x, self.offsets[rows].tolist(), strict=True)
        ]
        return torch.stack(pieces)

    def stack_windows(self) -> Tensor:
        """Return the windows of all images, 8-bit (N, 3, h, w), in memory."""
        pixels = torch.empty((len(self), 3, *self.policy.window), dtype=torch.uint8)
        for rows, x in self.batches(caption="Loading images"):
            pixels[torch.from_numpy(rows)] = to_8bit(self.windows(x, rows))
        return pixels

    def close(self) -> None:
        """Free the space on disk."""
        self._spool.close()

    def __enter__(self) -> ImageSet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_sizes(self, sources: Mapping[str, ImageSource]) -> dict[str, list[tuple[int, int]]]:
        """Return (height, width) of each image by its header; unreadable ones fail later."""
        found: dict[str, list[tuple[int, int]]] = {}
        with Progress("Reading sizes", sum(map(len, sources.values()))) as progress:
            for name, source in sources.items():
                sizes = []
                for index in range(len(source)):
                    if (size := _size(source, index)) is not None:
                        sizes.append(size)
                        self.sizes[name][f"{size[1]}x{size[0]}"] += 1
                    progress.advance()
                if not sizes:
                    raise UserError(f"{source.location}: none of {len(source)} images can be read")
                found[name] = sizes
        return found

    def _read(self, name: str, source: ImageSource, progress: Progress) -> list[str]:
        """Decode and keep the images of a source; return the names of those that can be used."""
        usable = []
        failed: Failed = []
        for image in read_images(
            source, failed, prepare=self._crop, progress=progress, orientation=False
        ):
            label = f"{name}/{image.name}".encode("utf-8", "surrogateescape") + b"\0"
            content = hashlib.sha256(image.data).digest()
            self._hashes.append(content.hex())
            self._digest.update(hashlib.sha256(label + content).digest())
            self._spool.append(image.pixels)
            if self._recompress:
                drawn = hash_fraction(f"quality {self._seed} {name}/{image.name}")
                quality = QUALITIES[0] + int(drawn * (QUALITIES[1] - QUALITIES[0] + 1))
                self._spool.append(recompress_pixels(image.pixels, quality))
            self.codecs[name][codec_of(image.data)] += 1
            usable.append(image.name)
        self.failed += [(f"{name}/{image}", reason) for image, reason in failed]
        return usable

    def _crop(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = self.policy.size
        if pixels.shape[0] < height or pixels.shape[1] < width:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise ImageError(f"{size} is smaller than {width}x{height}, to which all are cut")
        return central_window(pixels, self.policy.size, (0, 1))

    def _offsets(self, names: Sequence[str], seed: int) -> NDArray[np.int64]:
        rooms = np.array(self.policy.size) - np.array(self.policy.window) + 1
        drawn = [
            [hash_fraction(f"{seed} {axis} {number} {name}") for axis in ("down", "right")]
            for number, name in enumerate(names)
        ]
        offsets: NDArray[np.int64] = (np.array(drawn) * rooms).astype(np.int64)
        return offsets


def recompress_pixels(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return pixels (H, W, 3) after JPEG, with blocks that begin at the upper left."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    coded = PERTURBATIONS["jpeg"].real(x, float(quality), torch.Generator())
    found: NDArray[np.uint8] = coded[0].permute(1, 2, 0).numpy()
    return found


def _size(source: ImageSource, index: int) -> tuple[int, int] | None:
    """Return (height, width) by the header, as decoding gives it; None if it cannot be read."""
    try:
        return image_size(source.read(index), orientation=False)
    except ImageError:
        return None
