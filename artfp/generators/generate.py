"""Images from a trained generator, written to a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from artfp.core.errors import UserError
from artfp.core.progress import track
from artfp.data.bundle import Card
from artfp.data.files import file_hash, remove_leftovers, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.naming import output_names
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.predict_module import PredictionData
from artfp.data.resume import Manifest
from artfp.data.sources import ImageSource
from artfp.data.writing import (
    BackgroundWriter,
    encode_image,
    pack_zip,
    suffix_of,
)
from artfp.generators import find_model
from artfp.generators.base import Generator
from artfp.generators.weights import load_generator
from artfp.nn.random_inputs import ImageRandomInputs

IMAGES, ARCHIVE = "images", "images.zip"


@dataclass(frozen=True)
class Generation:
    """What decides a run.

    Image i depends on the generator, the seed and i alone. Only where another `batch_size` or
    device makes the machine add up in another order, single pixels move by one level of 256.

    Args: `generator`, its file; `count` of images (of a translator: at most so many of `inputs`,
    None: all); `label` of a class-conditional generator, None: all in turn; `inputs` of a
    translator, and `target`, see `Generator.translate`, None: the first of its targets.
    Raises UserError: a number that cannot be.
    """

    generator: Path
    output: Path
    count: int | None = None
    seed: int = 0
    batch_size: int = 64
    format: str = "png"
    archive: bool = False
    label: int | None = None
    inputs: ImageSource | None = None
    target: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        suffix_of(self.format)
        for what, value, least in (
            ("count", self.count, 1),
            ("batch_size", self.batch_size, 1),
            ("seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise UserError(f"{what} is {value}; it must be {least} or more")


@dataclass
class GeneratedImages:
    """How a run ended: images in the folder, those of them from before, unusable inputs."""

    folder: Path
    images: int = 0
    before: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def generate_images(job: Generation) -> GeneratedImages:
    """Write the images, each whole or not at all; a run that was stopped goes on.

    Raises UserError: a generator that cannot be loaded or does not fit the job, or a folder that
    holds a run with other settings.
    """
    generator, card = load_generator(job.generator)
    _check(job, generator)
    done = GeneratedImages(job.output / IMAGES)
    if Manifest.claim(job.output, _settings(job), "generate"):
        remove_leftovers(done.folder, deep=True)
    generator.to(job.device)
    if job.inputs is None:
        names = _names(job, generator, card)
        batches = _sampled(job, generator, names)
    else:
        names = output_names(job.inputs.names, suffix_of(job.format))[: job.count]
        batches = _translated(job, generator, names, done)
    done.before = sum((done.folder / name).is_file() for name in names)
    writer = BackgroundWriter()
    for batch in track(batches, len(names) - done.before, "Generating", len):
        writer.submit(_write, [(done.folder / name, *rest) for name, *rest in batch])
    writer.finish()
    there = [name for name in names if (done.folder / name).is_file()]
    done.images = len(there)
    if job.archive:
        pack_zip(done.folder, there, job.output / ARCHIVE)
    return done


_Images = list[tuple[str, np.ndarray, str]]
"""A batch to write: name, pixels (R, R, 3) and format of each image."""


def _sampled(job: Generation, generator: Generator, names: list[str]) -> Iterator[_Images]:
    """Batches of images, but for those that are there already.

    All batches are of one size, so that an image's neighbours do not depend on the count.
    """
    size = job.batch_size
    for start in range(0, len(names), size):
        missing = [n for n in names[start : start + size] if not _there(job, n)]
        if missing:
            images = range(start, start + size)
            labels = None
            if generator.classes:
                chosen = [_label(job, generator, i) for i in images]
                labels = torch.tensor(chosen, device=job.device)
            x = generator.sample(ImageRandomInputs(job.seed, images, job.device), labels)
            generated = dict(zip(names[start : start + size], _pixels(x), strict=False))
            yield [(name, generated[name], job.format) for name in missing]
        else:
            yield []


def _translated(
    job: Generation, generator: Generator, names: list[str], done: GeneratedImages
) -> Iterator[_Images]:
    """Batches of translated inputs, but for those that are there already."""
    assert job.inputs is not None
    target = generator.targets[0] if job.target is None else job.target
    before = [s for s, name in zip(job.inputs.names, names, strict=False) if _there(job, name)]
    before += job.inputs.names[len(names) :]
    side = generator.resolution
    data = PredictionData(job.inputs, Geometry(side), side, job.batch_size, done=before)
    for batch in data.predict_dataloader():
        generated = _pixels(generator.translate(to_unit(batch.small.to(job.device)), target))
        images: _Images = []
        for slot, position in enumerate(batch.positions):
            if batch.skipped[slot]:
                continue
            error = batch.errors[slot]
            if error is None:
                images.append((names[position], generated[slot], job.format))
            else:
                done.failed.append((job.inputs.names[position], error))
        yield images


def _names(job: Generation, generator: Generator, card: Card) -> list[str]:
    """File names of the images: numbered, in a folder for each class if there are classes."""
    assert job.count is not None
    names = [f"{i:06}{suffix_of(job.format)}" for i in range(job.count)]
    if generator.classes:
        known = card.get("class_names")
        folders = [
            # A card may come from a stranger: its names are not to lead out of the folder.
            name if isinstance(name, str) and re.fullmatch(r"\w[\w .-]*", name) else str(label)
            for label, name in enumerate(known if isinstance(known, list) else [])
        ]
        folders += map(str, range(len(folders), generator.classes))
        names = [f"{folders[_label(job, generator, i)]}/{name}" for i, name in enumerate(names)]
    return names


def _label(job: Generation, generator: Generator, image: int) -> int:
    return image % generator.classes if job.label is None else job.label


def _there(job: Generation, name: str) -> bool:
    return (job.output / IMAGES / name).is_file()


def _pixels(x: torch.Tensor) -> list[np.ndarray]:
    """Images (N, 3, R, R) in [0, 1] as N arrays (R, R, 3) uint8."""
    return list(to_8bit(x).permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _write(path: Path, pixels: np.ndarray, format: str) -> None:
    write_atomic(path, encode_image(pixels, format))


def _check(job: Generation, generator: Generator) -> None:
    """Raises UserError: inputs, a target or a label that do not fit the generator."""
    name = f"{job.generator} ({generator.model})"
    if find_model(generator.model).translates:
        if job.inputs is None or job.label is not None:
            raise UserError(f"{name} translates images; give them with --data_dir, no --label")
        source = os.path.realpath(job.inputs.location)
        if Path(os.path.realpath(job.output)).is_relative_to(source):
            raise UserError(f"{job.output} lies in the folder of the images; choose another")
    elif job.inputs is not None or job.target is not None:
        raise UserError(f"{name} makes images of its own; leave out --data_dir and --target")
    elif job.count is None:
        raise UserError(f"{name} makes images of its own; give their number with --count")
    if job.target is not None and job.target not in generator.targets:
        known = ", ".join(map(str, generator.targets))
        raise UserError(f"{name} translates to {known}, not to {job.target}")
    if job.label is not None and not 0 <= job.label < generator.classes:
        raise UserError(f"{name} has {generator.classes} classes, counted from 0; no {job.label}")


def _settings(job: Generation) -> dict[str, object]:
    """What must be equal for a stopped run to go on; more images may be asked for."""
    return {
        "generator": file_hash(job.generator),
        "seed": job.seed,
        "batch_size": job.batch_size,
        "format": job.format,
        "label": job.label,
        "target": job.target,
        "inputs": None if job.inputs is None else os.path.abspath(job.inputs.location),
    }
