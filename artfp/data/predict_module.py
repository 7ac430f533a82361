"""Batches for prediction: images of a source as tensors, with the outcome of reading each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from artfp.core.errors import UserError
from artfp.core.processes import die_with_parent
from artfp.data.borders import find_pictures
from artfp.data.budget import PixelBudget
from artfp.data.content import describe_content, file_stamp
from artfp.data.decode import decode_image, decode_picture
from artfp.data.edges import Box
from artfp.data.geometry import Geometry, resize
from artfp.data.image_files import ImageError, image_errors, open_image
from artfp.data.sources import ImageSource

_MAX_WORKERS = 8
_PREFETCH = 2

_WAITING_PIXELS = 1 << 26
"""Pixels of the whole images of all batches that wait, at most: 200 MB."""

DECODED_PIXELS = 100_000_000
"""Pixels that all loader processes decode at once, at most; each takes eight bytes."""


@dataclass
class ImageBatch:
    """B slots, each an image of the source or padding; every list has one entry for each slot.

    A slot without an image (an error, skipped, padding) has zeros in `small` and size (0, 0).

    Attributes:
        index: Number of the batch in the source, from 0.
        positions: Index into the source's names; -1 for padding.
        small: Images at the network's resolution, (B, 3, R, R) uint8 in channels-last memory.
        full: Whole images (H, W, 3) uint8; None when the image is the small one, when whole ones
            are not kept, or when they are too large to wait in memory: see `whole_image`.
        icc: ICC profiles of the images that have one.
        sizes: (height, width) in pixels after the geometry.
        errors: Reasons of images that could not be used.
        skipped: True for padding and for images that were done before.
        contents: What `describe_content` says of the bytes that were read; empty if none were.
        composited: True for images with transparent pixels, which were composited over white.
        framed: Slots of images in which pictures were found, if these are looked for, with an entry
            for each picture; see `find_pictures`.
        boxes: Where the pictures are.
        pictures: The pictures, (len(framed), 3, R, R) uint8.
    """

    index: int
    positions: list[int]
    small: torch.Tensor
    full: list[np.ndarray | None]
    icc: list[bytes | None]
    sizes: list[tuple[int, int]]
    errors: list[str | None]
    skipped: list[bool]
    contents: list[dict[str, Any]]
    composited: list[bool] = field(default_factory=list)
    framed: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    pictures: torch.Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process through its pipe: `/dev/shm`, torch's own way, may be small."""
        arrays = {
            name: value.permute(0, 2, 3, 1).cpu().numpy()
            for name, value in self.__dict__.items()
            if isinstance(value, torch.Tensor)
        }
        return {**self.__dict__, **arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive, with tensors in channels-last memory again."""
        tensors = {
            name: torch.from_numpy(value).permute(0, 3, 1, 2)
            for name, value in state.items()
            if isinstance(value, np.ndarray)
        }
        self.__dict__.update(state, **tensors)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ImageBatch:
        """Return the batch with its tensors on `device`; Lightning calls this to move it."""
        pictures = self.pictures
        if pictures is not None:
            pictures = pictures.to(device, non_blocking=non_blocking)
        small = self.small.to(device, non_blocking=non_blocking)
        return replace(self, small=small, pictures=pictures)


def whole_image(
    batch: ImageBatch, slot: int, source: ImageSource, geometry: Geometry
) -> np.ndarray | None:
    """Return the whole image (H, W, 3) of a slot; None where it is the small one.

    Where it was too large to wait in the batch it is read again.

    Raises:
        ImageError: it cannot be read any more, or has changed.
    """
    full, size = batch.full[slot], batch.sizes[slot]
    if full is not None or size == tuple(batch.small.shape[-2:]):
        return full
    with image_errors():
        data = source.read(batch.positions[slot])
        if describe_content(data, None)["sha256"] != batch.contents[slot]["sha256"]:
            raise ImageError("the file has changed since it was first read")
        return geometry(decode_image(data).pixels)


def default_workers() -> int:
    """Return how many loader processes to use: the usable CPUs, at most 8; none on a single one."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    return 0 if cpus == 1 else min(cpus, _MAX_WORKERS)


class PredictionData(pl.LightningDataModule):
    """Images of a source in batches whose composition never changes.

    Batch `k` holds images `k * batch_size` onwards, whatever is done already and however many
    processes share the work, so an image always meets the same neighbours. The last batch is padded
    to the size of the others, a single one is not. Batches with nothing
    left to do are left out; the others are dealt whole to the trainer's processes in turn.

    Args:
        source: Where the images come from.
        geometry: How they are cut and resized first.
        resolution: Side of the network's input in pixels.
        batch_size: Images of a batch.
        num_workers: Loader processes; None takes `default_workers()`, 0 loads in this process.
        keep_full: Whether batches hold whole images too, as far as `_WAITING_PIXELS` in all
            batches that wait allow: `whole_image` reads the others again.
        done: Names of images to skip.
        find_borders: Whether the pictures within images are looked for, see `find_pictures`.

    Raises:
        UserError: a number out of range.
    """

    def __init__(
        self,
        source: ImageSource,
        geometry: Geometry,
        resolution: int,
        batch_size: int = 32,
        num_workers: int | None = None,
        keep_full: bool = False,
        done: Collection[str] = (),
        find_borders: bool = False,
    ) -> None:
        super().__init__()
        workers = default_workers() if num_workers is None else num_workers
        for what, value, least in (
            ("resolution", resolution, 1),
            ("batch size", batch_size, 1),
            ("number of workers", workers, 0),
        ):
            if value < least:
                raise UserError(f"{what} is {value}; it must be {least} or more")
        # A process that is left with no batch waits for the others.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.batch_size = batch_size
        self.num_workers = workers
        finished = frozenset(done)
        self._batches = _Batches(
            source,
            geometry,
            resolution,
            batch_size,
            _WAITING_PIXELS // (_PREFETCH * workers + 1) if keep_full else 0,
            bytes(name in finished for name in source.names),
            find_borders,
        )

    def remaining(self) -> list[int]:
        """Return the indices of the batches of all processes in which an image is left to do."""
        done, size = self._batches.done, self.batch_size
        starts = range(0, len(done), size)
        return [i for i, start in enumerate(starts) if not all(done[start : start + size])]

    def remaining_images(self) -> int:
        """Return the number of images of all processes that are left to do."""
        return self._batches.done.count(0)

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        """Return a loader over this process's share of the batches; each item is a Batch."""
        rank, world = 0, 1
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
        workers = self.num_workers
        if workers:
            self._batches.budget = PixelBudget(DECODED_PIXELS, multiprocessing.get_context())
        return DataLoader(
            self._batches,
            batch_size=None,  # the data set builds whole batches, so one item is one transfer
            sampler=_Dealt(self.remaining(), rank, world),
            num_workers=workers,
            prefetch_factor=_PREFETCH if workers else None,
            worker_init_fn=_start_worker,
        )


class _Batches(Dataset[ImageBatch]):
    """Dataset whose item `k` is batch `k` of the source."""

    def __init__(
        self,
        source: ImageSource,
        geometry: Geometry,
        resolution: int,
        batch_size: int,
        kept_pixels: int,
        done: bytes,
        find_borders: bool = False,
    ) -> None:
        self.source = source
        self.geometry = geometry
        self.resolution = resolution
        self.batch_size = batch_size
        self.kept_pixels = kept_pixels
        self.budget = PixelBudget(DECODED_PIXELS)
        self.done = done
        self.find_borders = find_borders

    def __len__(self) -> int:
        return -(-len(self.done) // self.batch_size)

    def __getitem__(self, index: int) -> ImageBatch:
        slots, side = min(self.batch_size, len(self.done)), self.resolution
        start = index * slots
        count = min(slots, len(self.done) - start)
        pixels = np.zeros((slots, side, side, 3), np.uint8)
        batch = ImageBatch(
            index=index,
            positions=[start + i if i < count else -1 for i in range(slots)],
            small=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            full=[None] * slots,
            icc=[None] * slots,
            sizes=[(0, 0)] * slots,
            errors=[None] * slots,
            skipped=[i >= count or bool(self.done[start + i]) for i in range(slots)],
            composited=[False] * slots,
            contents=[{} for _ in range(slots)],
        )
        room = self.kept_pixels
        pictures: list[np.ndarray] = []
        for slot in range(count):
            if not batch.skipped[slot]:
                room -= self._fill(batch, slot, pixels, room, pictures)
        if pictures:
            batch.pictures = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return batch

    def _fill(
        self,
        batch: ImageBatch,
        slot: int,
        small: np.ndarray,
        room: int,
        pictures: list[np.ndarray],
    ) -> int:
        """Read an image into its slot, and the pictures within it.

        Returns the pixels of the whole image if it is kept.
        """
        side = (self.resolution, self.resolution)
        try:
            stamp = file_stamp(self.source, batch.positions[slot])
            data = self.source.read(batch.positions[slot])
            batch.contents[slot] = describe_content(data, stamp)
            with open_image(data) as image, self.budget.hold(image.width * image.height):
                picture = decode_picture(image)
                full = self.geometry(picture.pixels)
                fitted = resize(full, side)
                boxes = find_pictures(full) if self.find_borders else []
                cut = [resize(full[a:b, c:d], side) for a, b, c, d in boxes]
        except ImageError as error:
            batch.errors[slot] = str(error)
            return 0
        small[slot] = fitted
        batch.icc[slot] = picture.icc_profile
        batch.composited[slot] = picture.composited
        batch.sizes[slot] = (full.shape[0], full.shape[1])
        height, width = batch.sizes[slot]
        batch.framed += [slot] * len(boxes)
        batch.boxes += boxes
        pictures += cut
        if fitted is full or height * width > room:
            return 0
        batch.full[slot] = full
        return height * width


class _Dealt(DistributedSampler[int]):
    """Sampler of every `world`-th of the given indices from the `rank`-th on, none added.

    Lightning puts its own sampler, which would deal the batches a second time, in place of any
    but a DistributedSampler.
    """

    def __init__(self, indices: list[int], rank: int, world: int) -> None:
        super().__init__(range(len(indices)), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self._share = indices[rank::world]

    def __iter__(self) -> Iterator[int]:
        return iter(self._share)

    def __len__(self) -> int:
        return len(self._share)


def _start_worker(worker: int) -> None:
    """Leave Ctrl-C to the main process, and one thread to each worker; end with the parent."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _unless_abandoned
    torch.set_num_threads(1)


def _unless_abandoned(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Show an exception of a worker's thread, but not that the main process went away.

    After Ctrl-C it may do so in the middle of taking over a tensor.
    """
    if not isinstance(error, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, trace)
