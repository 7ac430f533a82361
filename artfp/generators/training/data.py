"""Batches for generative models: one set of images, two, or one with labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from artfp.core.errors import UserError
from artfp.data.content import source_digest
from artfp.data.geometry import Geometry
from artfp.data.sources import ImageSource
from artfp.data.train_module import TrainingData
from artfp.generators.trained_network import DataBatch

MAX_MEMORY = 2**29
"""Bytes of decoded 8-bit images of each set that a training keeps in memory, at most."""


class GenerativeData(pl.LightningDataModule):
    """Endless batches of 8-bit images; those of a step depend on the seed and the step alone.

    Images are resized centre squares; none is held out.

    Args:
        sources: Sets of images, one for each domain.
        resolution: Side of the images in pixels.
        batch_size: Images of a step and process.
        mirror: True to mirror half of the images at random.
        labels: Labels of the images of a single source, see `labels_of`.
        celeba: True for the published crop of CelebA images.
        num_workers: Loader processes; None: none for images that can be kept in memory, else the
            CPUs.
        seed: Seed of the order and of the mirroring.

    Raises:
        UserError: fewer than two images in a source.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        resolution: int,
        batch_size: int,
        mirror: bool = True,
        labels: list[int] | None = None,
        celeba: bool = False,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        self.domains = [
            TrainingData(
                source,
                resolution,
                Geometry(resolution, celeba),
                batch_size,
                num_workers,
                seed * len(sources) + domain,  # so that the domains have different orders
                crops=False,
                mirror=mirror,
                hold_out=False,
                labels=labels,
                memory=MAX_MEMORY,
            )
            for domain, source in enumerate(sources)
        ]

    def __len__(self) -> int:
        """Number of images to train on in all domains, without those left out."""
        return sum(domain.training_images for domain in self.domains)

    @property
    def left_out(self) -> list[str]:
        """Names of the images that could not be read, as far as they were needed until now."""
        return [name for domain in self.domains for name in domain.left_out]

    def check(self) -> None:
        """Read an image of each domain. Raises UserError: none of the first can be read."""
        for domain in self.domains:
            domain.check()

    def first(self, count: int) -> DataBatch:
        """Return the first `count` images of the stream of each domain."""
        batches: list[DataBatch] = []
        for batch in _Stream([domain.stream(0) for domain in self.domains]):
            batches.append(batch)
            if sum(map(len, batches)) >= count:
                break
        images = tuple(map(torch.cat, zip(*(batch.images for batch in batches), strict=True)))
        labels = [batch.labels for batch in batches if batch.labels is not None]
        return DataBatch(images, torch.cat(labels) if labels else None)[:count]

    def train_dataloader(self) -> Iterable[DataBatch]:
        """Return the batches from the trainer's step on."""
        assert self.trainer is not None
        place = self.trainer.global_step, self.trainer.global_rank, self.trainer.world_size
        return _Stream([domain.stream(*place) for domain in self.domains])

    def digest(self) -> str:
        """Return the SHA-256, as hex, of what the sources hold; see `source_digest`.

        It differs between a data set and its fingerprinted copy, which has the same names.
        """
        digests = map(source_digest, self.sources)
        return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


class _Stream:
    """Batches from a loader for each domain."""

    def __init__(self, loaders: list[Any]) -> None:
        self.loaders = loaders

    def __iter__(self) -> Iterator[DataBatch]:
        for parts in zip(*self.loaders, strict=True):
            if isinstance(parts[0], list):
                (images, labels), *_ = parts
                yield DataBatch((images,), labels)
            else:
                yield DataBatch(tuple(parts))


def labels_of(source: ImageSource) -> tuple[list[int], list[str]]:
    """Return a label for each image, and the names of the classes by label.

    The labels are those of a StyleGAN `dataset.json`, else each image is of the class of its
    top folder.

    Raises UserError: an image without a label, or fewer than two classes.
    """
    listed = (source.dataset_json or {}).get("labels")
    if listed:
        try:
            pairs = listed.items() if isinstance(listed, dict) else listed
            known = {str(name): int(label) for name, label in pairs}
            labels = [known[name] for name in source.names]
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"{source.location}: dataset.json does not give every image a class ({error})"
            ) from error
        for label in (min(labels), max(labels)):
            if not 0 <= label < len(labels):
                raise UserError(
                    f"{source.location}: dataset.json has the class {label}; expected 0 to "
                    f"{len(labels) - 1}, as there are {len(labels)} images"
                )
        names = [str(label) for label in range(max(labels) + 1)]
    else:
        loose = next((name for name in source.names if "/" not in name), None)
        if loose is not None:
            raise UserError(
                f"{source.location}: {loose!r} lies in no folder; this model needs a folder for "
                "each class, or labels in dataset.json"
            )
        names = sorted({name.split("/")[0] for name in source.names})
        numbers = {name: label for label, name in enumerate(names)}
        labels = [numbers[name.split("/")[0]] for name in source.names]
    if len(set(labels)) < 2:
        raise UserError(f"{source.location}: all images are of one class; this model needs two")
    return labels, names
