"""Images for training: an endless, reproducible stream that can be taken up at any step."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from artfp.core.errors import UserError
from artfp.core.processes import die_with_parent
from artfp.data.budget import PixelBudget
from artfp.data.decode import decode_picture, image_size
from artfp.data.geometry import Geometry, resize
from artfp.data.image_files import ImageError, image_errors, open_image
from artfp.data.predict_module import DECODED_PIXELS, default_workers
from artfp.data.sources import ImageSource
from artfp.data.subset import hash_fraction

VALIDATION_FRACTION = 0.05
MAX_VALIDATION_IMAGES = 512
_SMALLEST_CROP = 0.6
_TRIES = 20
_HEADERS = 1000  # images of a source whose headers are read first

_log = logging.getLogger("artfp")


def split_names(
    names: list[str], fraction: float = VALIDATION_FRACTION
) -> tuple[list[int], list[int]]:
    """Return the indices for training and for validation, decided by each name alone.

    An image stays on its side when others are added or removed (unless the 512 are full, or the
    sides need one each: few images).

    Args:
        names: Names of the images.
        fraction: Part of the images that is set aside for validation, at most 512.

    Example:
        >>> split_names(["a.png", "b.png", "c.png"], 0.3)
        ([0, 2], [1])
    """
    order = sorted(range(len(names)), key=lambda i: hash_fraction(names[i]))
    count = sum(hash_fraction(name) < fraction for name in names)
    count = max(1, min(count, MAX_VALIDATION_IMAGES, len(names) - 1))
    return sorted(order[count:]), sorted(order[:count])


class TrainingData(pl.LightningDataModule):
    """Batches (N, 3, R, R) of 8-bit images for training, and a validation split.

    The order of images, their crops and mirrorings depend on the seed and the step alone, so a
    resumed run sees what an uninterrupted one would have seen. With a `geometry` that changes
    images (the published preprocessing) training uses it as it is; otherwise each image gives a
    random crop of at least 0.6 of each side, never enlarged without need, and is mirrored half
    of the time.

    Args:
        source: Where the images come from.
        resolution: R, in pixels.
        geometry: How they are cut and resized first.
        batch_size: N.
        num_workers: Loader processes; None takes the usable CPUs.
        seed: Decides order, crops and mirrorings.
        crops: Whether images are cropped at random; None: as the geometry has it.
        mirror: Whether they are mirrored at random; None: as the geometry has it.
        hold_out: Whether some images are set aside for validation.
        labels: One for each of the source's images: batches are then [images, labels (N,) int64].
        memory: Bytes. If all images fit in so much at the resolution, each is decoded once and
            kept, unless they are cropped at random or loader processes were asked for.

    Raises:
        UserError: fewer than two images.
    """

    def __init__(
        self,
        source: ImageSource,
        resolution: int,
        geometry: Geometry | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
        crops: bool | None = None,
        mirror: bool | None = None,
        hold_out: bool = True,
        labels: Sequence[int] | None = None,
        memory: int = 0,
    ) -> None:
        super().__init__()
        if len(source) < 2:
            raise UserError(f"{source.location} holds {len(source)} image; training needs two")
        # One flag for each image, in memory that the loader processes share.
        self._unreadable = torch.zeros(len(source), dtype=torch.bool).share_memory_()
        self._composited = torch.zeros(1, dtype=torch.bool).share_memory_()
        self.source, self.resolution, self.geometry = source, resolution, geometry or Geometry()
        self.batch_size, self.seed, self.labels = batch_size, seed, labels
        vary = self.geometry == Geometry()
        self.crops = vary if crops is None else crops
        self.mirror = vary if mirror is None else mirror
        fits = not self.crops and len(source) * 3 * resolution**2 <= memory
        self.keep = fits and not num_workers
        usual = 0 if self.keep else default_workers()
        self.num_workers = usual if num_workers is None else num_workers
        usable = self._with_headers()
        self.training_indices, self.validation_indices = usable, []
        if hold_out:
            sides = split_names([source.names[index] for index in usable])
            self.training_indices, self.validation_indices = (
                [usable[place] for place in side] for side in sides
            )

    @property
    def left_out(self) -> list[str]:
        """Names of the images that could not be read, as far as they were needed until now."""
        return [self.source.names[int(index)] for index in self._unreadable.nonzero()]

    @property
    def training_images(self) -> int:
        """Number of images to train on, without those left out."""
        return len(self.training_indices) - int(self._unreadable[self.training_indices].sum())

    def leave_out(self, index: int, reason: object) -> None:
        """Note an image that cannot be read, and log it the first time."""
        if not self._unreadable[index]:
            self._unreadable[index] = True
            _log.warning("left out %r: %s", self.source.names[index], reason)

    def tell_composited(self, index: int) -> None:
        """Log, once for all images and processes, that an image has transparent pixels."""
        if not self._composited[0]:
            self._composited[0] = True
            name = self.source.names[index]
            _log.warning("transparent images, such as %r, are composited over white", name)

    def _with_headers(self) -> list[int]:
        """Return the images whose headers can be read; of large sets all, as that takes long.

        Raises UserError: fewer than two.
        """
        for index in range(len(self.source) if len(self.source) <= _HEADERS else 0):
            try:
                with image_errors():
                    image_size(self.source.read(index))
            except ImageError as error:
                self.leave_out(index, error)
        usable: list[int] = self._unreadable.logical_not().nonzero().flatten().tolist()
        if len(usable) < 2:
            raise UserError(
                f"{self.source.location}: {len(self.source) - len(usable)} of {len(self.source)} "
                "images could not be read; training needs two that can"
            )
        return usable

    def check(self) -> None:
        """Read one image as training would.

        Raises:
            UserError: none of the first can be read.
        """
        _Images(self, self.training_indices, vary=True)[0]

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in which one process sees as many images as there are."""
        return max(1, len(self.training_indices) // self.batch_size)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return an endless loader that starts at the trainer's step."""
        if self.trainer is None:
            return self.stream(0)
        trainer = self.trainer
        return self.stream(trainer.global_step, trainer.global_rank, trainer.world_size)

    def stream(self, step: int, rank: int = 0, world: int = 1) -> DataLoader[Any]:
        """Return an endless loader of the batches of process `rank` of `world`, from `step` on."""
        images = _Images(self, self.training_indices, vary=True)
        return self._loader(
            images, _Endless(len(images), self.batch_size, self.seed, rank, world, step)
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return a loader of all validation images in order, the last batch shorter."""
        images = _Images(self, self.validation_indices, vary=False)
        size = self.batch_size
        batches = [
            list(range(start, min(start + size, len(images))))
            for start in range(0, len(images), size)
        ]
        return self._loader(images, batches)

    def _loader(
        self, images: Dataset[Any], batches: Sampler[list[int]] | list[list[int]]
    ) -> DataLoader[Any]:
        return DataLoader(
            images,
            batch_sampler=batches,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread,
            collate_fn=_collate,
        )


class _Piped:
    """Array that goes to another process through its pipe, and arrives as a tensor.

    Torch's own way is `/dev/shm`. In containers that is small, and loaders hang where it is full.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.from_numpy, (self.array,)


def _collate(items: list[Any]) -> Any:
    """Return images (N, 3, R, R) uint8, or those and labels (N,) int64."""
    here = torch.utils.data.get_worker_info() is None
    kind = torch.from_numpy if here else _Piped
    if isinstance(items[0], np.ndarray):
        return kind(np.stack(items))
    images, labels = zip(*items, strict=True)
    return [kind(np.stack(images)), kind(np.array(labels, np.int64))]


def _one_thread(_worker: int) -> None:
    """Leave Ctrl-C to the main process, and one thread to each worker; end with the parent."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


class _Images(Dataset[Any]):
    """Dataset whose item `epoch * len + i` is image `i` in epoch `epoch`, (3, R, R) uint8.

    With labels an item is (image, label).
    """

    def __init__(self, data: TrainingData, indices: list[int], vary: bool) -> None:
        self.source, self.indices, self.labels = data.source, indices, data.labels
        self.resolution, self.geometry = data.resolution, data.geometry
        self.seed = data.seed
        self.crops, self.mirror = vary and data.crops, vary and data.mirror
        self._kept: dict[int, np.ndarray] | None = {} if data.keep else None
        context = multiprocessing if data.num_workers else threading
        self._budget = PixelBudget(DECODED_PIXELS, context)
        self._leave_out, self._tell_composited = data.leave_out, data.tell_composited

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Any:
        rng = np.random.default_rng((self.seed, item))
        for further in range(_TRIES):
            index = self.indices[(item + further) % len(self.indices)]
            try:
                with image_errors():
                    pixels = _vary(self._read(index), self.resolution, rng, self.crops, self.mirror)
                    pixels = resize(pixels, (self.resolution, self.resolution))
            except ImageError as error:
                self._leave_out(index, error)
                continue
            image = np.ascontiguousarray(pixels.transpose(2, 0, 1))
            return image if self.labels is None else (image, self.labels[index])
        raise UserError(f"{_TRIES} images in a row of {self.source.location} could not be read")

    def _read(self, index: int) -> np.ndarray:
        """Return an image (H, W, 3), at the resolution if it is kept."""
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        data = self.source.read(index)
        with open_image(data) as image, self._budget.hold(image.width * image.height):
            picture = decode_picture(image)
        if picture.composited:
            self._tell_composited(index)
        pixels = self.geometry(picture.pixels)
        if self._kept is not None:
            pixels = self._kept[index] = resize(pixels, (self.resolution, self.resolution))
        return pixels


def _vary(
    pixels: np.ndarray,
    resolution: int,
    rng: np.random.Generator,
    crops: bool = True,
    mirror: bool = True,
) -> np.ndarray:
    """Crop at random, not below the resolution if that can be, each side by itself; mirror."""
    if crops:
        spans = []
        for length in pixels.shape[:2]:
            least = min(length, max(resolution, round(_SMALLEST_CROP * length)))
            span = int(rng.integers(least, length + 1))
            start = int(rng.integers(0, length - span + 1))
            spans.append(slice(start, start + span))
        pixels = pixels[spans[0], spans[1]]
    return pixels[:, ::-1] if mirror and rng.random() < 0.5 else pixels


class _Endless(Sampler[list[int]]):
    """Batches from step `step` on, through one permutation of the images after another."""

    def __init__(
        self, count: int, batch_size: int, seed: int, rank: int, world: int, step: int
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world, self.step = rank, world, step

    def __iter__(self) -> Iterator[list[int]]:
        step, epoch, order = self.step, -1, np.zeros(0, np.int64)
        while True:
            first = (step * self.world + self.rank) * self.batch_size
            batch = []
            for place in range(first, first + self.batch_size):
                if place // self.count != epoch:
                    epoch = place // self.count
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
                batch.append(epoch * self.count + int(order[place % self.count]))
            yield batch
            step += 1
