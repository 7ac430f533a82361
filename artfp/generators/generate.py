"""Images of a trained generator, written to a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from artfp.core.errors import UserError, one_line
from artfp.core.progress import track
from artfp.core.run_folder import exclusive
from artfp.data.bundle import Card
from artfp.data.content import source_digest
from artfp.data.files import write_atomic
from artfp.data.geometry import Geometry
from artfp.data.hidden_files import remove_leftovers
from artfp.data.naming import output_names
from artfp.data.paths import file_hash
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.predict_module import PredictionData
from artfp.data.resume import Manifest
from artfp.data.sources import ImageSource, open_source
from artfp.data.writing import BackgroundWriter, encode_image, pack_zip, suffix_of
from artfp.generators.base import Generator
from artfp.generators.registry import find_model
from artfp.generators.settings import GenerateSettings
from artfp.generators.weights import load_generator
from artfp.nn.random_inputs import ImageRandomInputs

IMAGES, ARCHIVE = "images", "images.zip"


@dataclass
class GeneratedImages:
    """Result of a run.

    Args:
        folder: Folder of the images.
        images: Number of images in it.
        before: Those of them that were there before.
        failed: Name and reason of each input that could not be used.
    """

    folder: Path
    images: int = 0
    before: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


@exclusive
def generate_images(
    settings: GenerateSettings, inputs: ImageSource | None = None
) -> GeneratedImages:
    """Write images of a generator, each whole or not at all; a run that was stopped goes on.

    Image i depends on the generator, the seed and i alone. Only where another `batch_size` or
    device makes the machine add up in another order, single pixels move by one level of 256.

    Args:
        settings: Generator, number of images, and folder.
        inputs: Images that a translator translates, instead of those in `settings.data_dir`.

    Returns:
        What was written.

    Raises:
        UserError: a generator that cannot be loaded or does not fit the settings, or a folder that
            holds a run with other settings.

    Example:
        >>> import tempfile
        >>> from artfp.generators import build_model
        >>> from artfp.generators.weights import save_generator
        >>> model = build_model("dcgan", 16, changes={"width": 4})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_generator(model.generator, Path(folder, "dcgan.safetensors"))
        ...     settings = GenerateSettings(
        ...         generator=Path(folder, "dcgan.safetensors"), output_dir=Path(folder), count=2
        ...     )
        ...     generate_images(settings).images
        2
    """
    device = settings.torch_device()
    generator, card = load_generator(settings.generator)
    if inputs is None and settings.data_dir is not None:
        inputs = open_source(settings.data_dir, settings.follow_links)
    _check(settings, generator, inputs)
    done = GeneratedImages(settings.output_dir / IMAGES)
    claimed = _deciding(settings, inputs)
    if Manifest.claim(settings.output_dir, claimed, "generate", results=f"{IMAGES}/**/*"):
        remove_leftovers(done.folder, deep=True)
    generator.to(device)
    if inputs is None:
        names = _names(settings, generator, card)
        batches = _sampled(settings, generator, names, device)
    else:
        names = output_names(inputs.names, suffix_of(settings.format))[: settings.count]
        batches = _translated(settings, generator, inputs, names, done, device)
    _check_surplus(settings, names)
    done.before = sum((done.folder / name).is_file() for name in names)
    writer = BackgroundWriter()
    for batch in track(batches, len(names) - done.before, "Generating", len):
        writer.submit(_write, [(done.folder / name, *rest) for name, *rest in batch])
    writer.finish()
    present = [name for name in names if (done.folder / name).is_file()]
    done.images = len(present)
    if settings.archive:
        pack_zip(done.folder, present, settings.output_dir / ARCHIVE)
    return done


_Images = list[tuple[str, np.ndarray, str]]
"""A batch to write: name, pixels (R, R, 3) and format of each image."""


def _sampled(
    settings: GenerateSettings, generator: Generator, names: list[str], device: str
) -> Iterator[_Images]:
    """Batches of images, without those that exist already.

    All batches are of one size, so that an image's neighbours do not depend on the count.
    """
    size = settings.batch_size
    for start in range(0, len(names), size):
        missing = [n for n in names[start : start + size] if not _exists(settings, n)]
        if missing:
            numbers = range(start, start + size)
            labels = None
            if generator.classes:
                chosen = [_label(settings, generator, i) for i in numbers]
                labels = torch.tensor(chosen, device=device)
            x = generator.sample(ImageRandomInputs(settings.seed, numbers, device), labels)
            images = dict(zip(names[start : start + size], _pixels(x), strict=False))
            yield [(name, images[name], settings.format) for name in missing]
        else:
            yield []


def _translated(
    settings: GenerateSettings,
    generator: Generator,
    inputs: ImageSource,
    names: list[str],
    done: GeneratedImages,
    device: str,
) -> Iterator[_Images]:
    """Batches of translated inputs, without those that exist already."""
    target = generator.targets[0] if settings.target is None else settings.target
    before = [s for s, name in zip(inputs.names, names, strict=False) if _exists(settings, name)]
    before += inputs.names[len(names) :]
    side = generator.resolution
    data = PredictionData(inputs, Geometry(side), side, settings.batch_size, done=before)
    for batch in data.predict_dataloader():
        pixels = _pixels(generator.translate(to_unit(batch.small.to(device)), target))
        images: _Images = []
        for slot, position in enumerate(batch.positions):
            if batch.skipped[slot]:
                continue
            error = batch.errors[slot]
            if error is None:
                images.append((names[position], pixels[slot], settings.format))
            else:
                done.failed.append((inputs.names[position], error))
        yield images


def _names(settings: GenerateSettings, generator: Generator, card: Card) -> list[str]:
    """File names of the images: numbered, in a folder for each class if there are classes."""
    assert settings.count is not None
    names = [f"{i:06}{suffix_of(settings.format)}" for i in range(settings.count)]
    if generator.classes:
        known = card.get("class_names")
        folders = [
            # A card may come from a stranger: its names must not lead out of the folder.
            name if isinstance(name, str) and re.fullmatch(r"\w[\w .-]*", name) else str(label)
            for label, name in enumerate(known if isinstance(known, list) else [])
        ]
        folders += map(str, range(len(folders), generator.classes))
        labels = [_label(settings, generator, i) for i in range(len(names))]
        names = [f"{folders[label]}/{name}" for label, name in zip(labels, names, strict=True)]
    return names


def _label(settings: GenerateSettings, generator: Generator, image: int) -> int:
    return image % generator.classes if settings.label is None else settings.label


def _exists(settings: GenerateSettings, name: str) -> bool:
    return (settings.output_dir / IMAGES / name).is_file()


def _pixels(x: torch.Tensor) -> list[np.ndarray]:
    """Images (N, 3, R, R) in [0, 1] as N arrays (R, R, 3) uint8. Raises UserError: they are NaN."""
    if not bool(torch.isfinite(x).all()):
        raise UserError(
            "the generator's images are no numbers (NaN), as after a training that diverged; take "
            "another generator"
        )
    return list(to_8bit(x).permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _write(path: Path, pixels: np.ndarray, format: str) -> None:
    write_atomic(path, encode_image(pixels, format))


def _check(settings: GenerateSettings, generator: Generator, inputs: ImageSource | None) -> None:
    """Raise a UserError if inputs, target or label do not fit the generator."""
    name = f"{settings.generator} ({generator.model})"
    if find_model(generator.model).translates:
        if inputs is None or settings.label is not None:
            raise UserError(f"{name} translates images; give them with --data_dir, no --label")
        source = os.path.realpath(inputs.location)
        if Path(os.path.realpath(settings.output_dir)).is_relative_to(source):
            raise UserError(f"{settings.output_dir} is in the folder of the images; choose another")
    elif inputs is not None or settings.target is not None:
        raise UserError(f"{name} needs no input images; leave out --data_dir and --target")
    elif settings.count is None:
        raise UserError(f"{name} needs no input images; give the number of images with --count")
    target, label = settings.target, settings.label
    if target is not None and target not in generator.targets:
        known = ", ".join(map(str, generator.targets))
        raise UserError(f"{name} translates to {known}, not to {target}")
    if label is not None and label >= generator.classes:
        raise UserError(f"{name} has {generator.classes} classes, counted from 0; no {label}")


def _check_surplus(settings: GenerateSettings, names: list[str]) -> None:
    """Raise a UserError if the folder holds other images than those that are asked for."""
    folder, wanted = settings.output_dir / IMAGES, set(names)
    files = (path for path in folder.rglob(f"*{suffix_of(settings.format)}") if path.is_file())
    others = [name for path in files if (name := path.relative_to(folder).as_posix()) not in wanted]
    if others:
        raise UserError(
            f"{folder} holds {len(others)} more images than --count {len(names)}, such as "
            f"{one_line(min(others))}; give their number, or choose another output folder"
        )


def _deciding(settings: GenerateSettings, inputs: ImageSource | None) -> dict[str, object]:
    """Settings that must be equal for a stopped run to go on; `count` may grow."""
    return {
        "generator": file_hash(settings.generator),
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "format": settings.format,
        "label": settings.label,
        "target": settings.target,
        "inputs": None if inputs is None else os.path.abspath(inputs.location),
        "inputs_sha256": None if inputs is None else source_digest(inputs),
    }
