"""The images that an attributor is fitted to: cut by its policy, kept decoded, dealt into folds.

Images change on their way: sites and messengers recompress them. So each can be joined by a copy
of it after JPEG, of a quality drawn for it (QUALITIES), which stays in its source and fold.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, Spool, stack_pixels
from artfp.data.sources import ImageSource
from artfp.data.subset import hash_fraction, limit_images
from artfp.passive.attributors.window import central_window, choose_policy
from artfp.passive.residuals.estimate import codec_of
from artfp.perturbations import PERTURBATIONS

FOLDS = 10

MIN_IMAGES = 40
"""Usable images of a source to fit an attributor to, at least."""

QUALITIES = (75, 100)
"""Of recompressed copies, JPEG with halved colours: each as often, from the first to the second."""

AS_IS, RECOMPRESSED = 0, 1
"""States of images, whose scores have distributions of their own."""

_BATCH_PIXELS = 1 << 18
_MOST = 256
_TAG_ORIENTATION, _TURNED = 0x0112, range(5, 9)

Tick = Callable[[str, int], None]
"""Called with what is being done and the number of images that it has just been done to."""


class ImageSet:
    """Images of several sources in a spool, all of the policy's size.

    Attributes, of N images, those of a source together: `labels` (N,), the number of the source;
    `folds` (N,), the part of the cross-validation, which depends on name and seed alone, so that
    images of one name in several sources stay together; `offsets` (N, 2), where the window is;
    `states` (N,), AS_IS or RECOMPRESSED. A recompressed copy comes right after its original, and
    counts as an image. `digest` of what all files hold.
    """

    def __init__(
        self,
        sources: Mapping[str, ImageSource],
        *,
        policy: str | None = None,
        window: int | None = None,
        limit: int | None = None,
        least: int = MIN_IMAGES,
        recompress: bool = False,
        seed: int = 0,
        folder: Path | None = None,
        tick: Tick = lambda what, images: None,
    ) -> None:
        """Read at most `limit` images of each source; UserError: fewer than `least` can be used.

        Images are kept near `folder`; for `policy` and `window` see `choose_policy`. `recompress`:
        add a copy of each image; both its quality and the folds are drawn with `seed`.
        """
        chosen = {name: limit_images(source, limit) for name, source in sources.items()}
        self.sources = tuple(chosen)
        self.failed: Failed = []
        self.codecs: dict[str, Counter[str]] = {name: Counter() for name in chosen}
        self.sizes: dict[str, Counter[str]] = {name: Counter() for name in chosen}
        self.policy = choose_policy(self._measure(chosen, tick), policy, window)
        self._spool = Spool(folder)
        self._digest = hashlib.sha256()
        self._recompress, self._seed = recompress, seed
        labels, names = [], []
        for number, (name, source) in enumerate(chosen.items()):
            kept = self._read(name, source, tick)
            if len(kept) < least:
                why = f"; the first that cannot: {self.failed[0][1]}" if self.failed else ""
                raise UserError(
                    f"{source.location}: {len(kept)} of {len(source)} images can be used, a source "
                    f"takes {least}{why}"
                )
            labels += [number] * len(kept)
            names += kept
        states = (AS_IS, RECOMPRESSED) if recompress else (AS_IS,)
        each = len(states)
        self.labels = np.repeat(np.array(labels, np.int64), each)
        self.states = np.tile(np.array(states, np.int64), len(names))
        drawn = [hash_fraction(f"fold {seed} {name}") for name in names]
        self.folds = np.repeat((np.array(drawn) * FOLDS).astype(np.int64), each)
        self.offsets = np.repeat(self._offsets(names, seed), each, axis=0)
        self.digest = self._digest.hexdigest()

    def __len__(self) -> int:
        return len(self.labels)

    def few(self, count: int) -> NDArray[np.int64]:
        """Rows of at most `count` images of each source, and those of their copies."""
        originals = np.flatnonzero(self.states == AS_IS)
        rows = [originals[self.labels[originals] == k] for k in range(len(self.sources))]
        picked = np.concatenate([each[:: max(1, -(-len(each) // count))] for each in rows])
        return np.sort(np.concatenate([picked, picked + 1])) if self.states.any() else picked

    def batches(
        self, rows: NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Images (n, 3, H, W) in [0, 1] of some rows with these, each batch of a source and fold.

        The batches are small enough for any extractor.
        """
        height, width = self.policy.size
        step = max(1, min(_MOST, _BATCH_PIXELS // (height * width)))
        for label in np.unique(self.labels[rows]):
            for fold in range(FOLDS):
                own = rows[(self.labels[rows] == label) & (self.folds[rows] == fold)]
                for start in range(0, len(own), step):
                    part = own[start : start + step]
                    yield (
                        part,
                        to_unit(stack_pixels([self._spool[i] for i in part.tolist()]).to(device)),
                    )

    def windows(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The policy's window of each of these images, at its offset."""
        height, width = self.policy.window
        if (height, width) == tuple(x.shape[-2:]):
            return x
        pieces = [
            image[:, top : top + height, left : left + width]
            for image, (top, left) in zip(x, self.offsets[rows].tolist(), strict=True)
        ]
        return torch.stack(pieces)

    def close(self) -> None:
        """Give the space on disk back."""
        self._spool.close()

    def _measure(
        self, sources: Mapping[str, ImageSource], tick: Tick
    ) -> dict[str, list[tuple[int, int]]]:
        """(height, width) of each image by its header; those that cannot be read fail later."""
        found: dict[str, list[tuple[int, int]]] = {}
        for name, source in sources.items():
            sizes = []
            for index in range(len(source)):
                size = _size(source, index)
                if size is not None:
                    sizes.append(size)
                    self.sizes[name][f"{size[1]}x{size[0]}"] += 1
                tick("reading sizes", 1)
            if not sizes:
                raise UserError(f"{source.location}: none of {len(source)} images can be read")
            found[name] = sizes
        return found

    def _read(self, name: str, source: ImageSource, tick: Tick) -> list[str]:
        """Decode and keep the images of a source; names of those that could be used."""
        kept = []
        height, width = self.policy.size
        for index, image in enumerate(source.names):
            try:
                data = source.read(index)
                pixels = decode_image(data).pixels
                if pixels.shape[0] < height or pixels.shape[1] < width:
                    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
                    raise ImageError(
                        f"{size} is smaller than {width}x{height}, to which all are cut"
                    )
            except ImageError as error:
                self.failed.append((f"{name}/{image}", str(error)))
            else:
                label = f"{name}/{image}".encode("utf-8", "surrogateescape") + b"\0"
                self._digest.update(hashlib.sha256(label + hashlib.sha256(data).digest()).digest())
                piece = central_window(pixels, self.policy.size, (0, 1))
                self._spool.append(piece)
                if self._recompress:
                    drawn = hash_fraction(f"quality {self._seed} {name}/{image}")
                    quality = QUALITIES[0] + int(drawn * (QUALITIES[1] - QUALITIES[0] + 1))
                    self._spool.append(recompress_pixels(piece, quality))
                self.codecs[name][codec_of(data)] += 1
                kept.append(image)
            tick("reading images", 1)
        return kept

    def _offsets(self, names: Sequence[str], seed: int) -> NDArray[np.int64]:
        rooms = np.array(self.policy.size) - np.array(self.policy.window) + 1
        drawn = [
            [hash_fraction(f"{seed} {axis} {number} {name}") for axis in ("down", "right")]
            for number, name in enumerate(names)
        ]
        offsets: NDArray[np.int64] = (np.array(drawn) * rooms).astype(np.int64)
        return offsets


def recompress_pixels(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) after JPEG. Blocks begin at the upper left, as they do in the whole file."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    coded = PERTURBATIONS["jpeg"].true(x, float(quality), torch.Generator())
    found: NDArray[np.uint8] = coded[0].permute(1, 2, 0).numpy()
    return found


def _size(source: ImageSource, index: int) -> tuple[int, int] | None:
    """(height, width) as decoding gives it, from the header."""
    try:
        data = source.read(index)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                turned = image.getexif().get(_TAG_ORIENTATION) in _TURNED
    except Exception:  # Pillow's plugins raise nearly every built-in exception
        return None
    return (width, height) if turned else (height, width)
