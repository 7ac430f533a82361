"""Unmarked images, decoded once: their logits, kept in a file for as many comparisons as one likes.

A file is an `.npz` of `logits` (N, bits) float32 and the `names` (N,) of their images, sorted, each
with its source before it; of the `condition` under which they were decoded; and of the `decoder`,
its file's name and SHA-256. With the unperturbed come `flat` (50, bits), the logits of images of
one gray each, from black to white.
"""

from __future__ import annotations

import sys
import zipfile
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.data import ImageError, decode_image, open_source, resize
from artfp.data.bundle import find_weights
from artfp.data.paths import file_hash
from artfp.data.pixels import to_unit
from artfp.data.reading import batch_images
from artfp.watermark import Decoder
from artfp.watermark.measure_conditions import apply_condition

UNPERTURBED = "none"
FLAT = 50

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Decoded:
    """What images decode to under a condition; `weights` and `digest` name the decoder's file."""

    names: list[str]
    logits: Logits
    condition: str
    weights: str
    digest: str
    flat: Logits | None = None

    @property
    def words(self) -> NDArray[np.uint8]:
        """The decoded bits, (N, bits)."""
        return (self.logits > 0).astype(np.uint8)

    def save(self, path: str | Path) -> None:
        """Write the file; its folder is made."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            np.savez(
                file,
                logits=self.logits,
                names=np.array(self.names),
                condition=np.array(self.condition),
                decoder=np.array([self.weights, self.digest]),
                flat=np.zeros((0, 0), np.float32) if self.flat is None else self.flat,
            )

    @classmethod
    def load(cls, path: str | Path) -> Decoded:
        """Read the file. Raises UserError: it is none of these."""
        try:
            with np.load(path, allow_pickle=False) as file:
                weights, digest = file["decoder"].tolist()
                found = cls(
                    file["names"].tolist(),
                    file["logits"],
                    str(file["condition"]),
                    weights,
                    digest,
                    file["flat"] if file["flat"].size else None,
                )
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
        except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
            raise UserError(f"{path}: holds no logits that these benchmarks wrote") from None
        if found.logits.ndim != 2 or len(found.logits) != len(found.names):
            raise UserError(f"{path}: {len(found.names)} names, logits {found.logits.shape}")
        return found


class Sources:
    """The first images of some sources, one after the other, up to a number in all."""

    def __init__(self, locations: list[str], most: int) -> None:
        self.opened = {location: open_source(location) for location in locations}
        self.most = most
        self.used = dict.fromkeys(locations, 0)
        self.unusable = 0

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        for location, source in self.opened.items():
            for index, name in enumerate(source.names):
                if sum(self.used.values()) == self.most:
                    return
                try:
                    pixels = decode_image(source.read(index)).pixels
                except ImageError:
                    self.unusable += 1
                    continue
                self.used[location] += 1
                yield f"{Path(location).name}/{name}", pixels
        if sum(self.used.values()) < self.most:
            print(f"only {sum(self.used.values())} images, not {self.most}", file=sys.stderr)


@torch.inference_mode()
def decode(
    weights: str,
    decoder: Decoder,
    images: Iterable[tuple[str, np.ndarray]],
    conditions: Sequence[str] = (UNPERTURBED,),
) -> dict[str, Decoded]:
    """What named 8-bit images (H, W, 3) decode to under each condition of `measure.CONDITIONS`.

    Perturbations draw from a seeded generator. Raises UserError: no image.
    """
    draws = torch.Generator().manual_seed(0)
    found: dict[str, list[Logits]] = {name: [] for name in conditions}
    names: list[str] = []
    for some, stack in _stacks(images):
        pixels = torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous()
        for name in conditions:
            changed = pixels if name == UNPERTURBED else apply_condition(name, pixels, draws)
            found[name].append(logits_of(decoder, changed))
        if len(names) // 500 != (len(names) + len(some)) // 500:
            print(f"{len(names) + len(some)} images decoded", file=sys.stderr)
        names += some
    if not names:
        raise UserError("no image could be used")
    order = np.argsort(np.array(names), kind="stable")
    digest = file_hash(find_weights(weights, "decoder"))
    return {
        condition: Decoded(
            [names[i] for i in order],
            np.concatenate(parts)[order],
            condition,
            Path(weights).name,
            digest,
            _flat(decoder) if condition == UNPERTURBED else None,
        )
        for condition, parts in found.items()
    }


@torch.inference_mode()
def logits_of(decoder: Decoder, pixels: torch.Tensor) -> Logits:
    """The logits (N, bits) of 8-bit images (N, 3, H, W) of any size; above 0 for a bit of 1."""
    side, aspect = decoder.resolution, pixels.shape[-2] / pixels.shape[-1]
    images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    small = torch.from_numpy(np.stack([resize(image, (side, side)) for image in images]))
    x = to_unit(small.permute(0, 3, 1, 2).contiguous())
    logits, _ = decoder.decode(x, torch.full((len(x),), aspect))
    return np.asarray(logits.float().numpy())


def _flat(decoder: Decoder) -> Logits:
    """The logits (FLAT, bits) of images of one gray each, from black to white."""
    grays = torch.linspace(0, 255, FLAT).round().to(torch.uint8).view(-1, 1, 1, 1)
    side = decoder.resolution
    return logits_of(decoder, grays.expand(-1, 3, side, side))


def _stacks(images: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[list[str], np.ndarray]]:
    """`batch_images` with the names: images of one size leave it in the order they came in."""
    waiting: dict[tuple[int, ...], deque[str]] = defaultdict(deque)

    def passing() -> Iterator[np.ndarray]:
        for name, pixels in images:
            waiting[pixels.shape].append(name)
            yield pixels

    for batch in batch_images(passing(), pixels=1 << 21):
        names = waiting[batch[0].shape]
        yield [names.popleft() for _ in batch], np.stack(batch)
