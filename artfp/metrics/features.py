"""Features of sets of images, for `artfp.metrics.frechet_kernel`.

By default the pooled last layer of EfficientNet-Lite0, 1280 numbers an image, without a download.
Distances in them are called frechet_effnet and kernel_effnet: numbers of their own, NOT comparable
with published FID and KID, which are of Inception-v3 (see `artfp.metrics.inception`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.decode import log_composited
from artfp.data.geometry import Geometry
from artfp.data.image_files import ImageError
from artfp.data.pixels import to_unit
from artfp.data.predict_module import ImageBatch, PredictionData, whole_image
from artfp.data.sources import ImageSource, open_source
from artfp.metrics.perceptual import load_effnet, normalise_for_effnet

EFFNET_SIDE = 128
"""Side in pixels to which every image is resized for EfficientNet-Lite0, whatever its shape: by
antialiased bicubic interpolation in 8 bits. For images of 32 px that is four times their side."""

_MAX_PIXELS = 1 << 24
"""Pixels of the images of their own size that a network sees at once, at most."""


class FeatureNetwork(nn.Module):
    """Network from 8-bit images (N, 3, H, W) to features (N, D); in evaluation mode, frozen."""

    side: int | None = None
    """Side in pixels to which images are resized for it; None: any size."""
    names: tuple[str, str]
    """Names of the Frechet and the kernel distance in these features."""


class EffnetFeatures(FeatureNetwork):
    """EfficientNet-Lite0 up to its global average pooling: 1280 features, all in [0, 6].

    Raises UserError: the extra `features` is not installed, or its weights cannot be read.
    """

    side = EFFNET_SIDE
    names = ("frechet_effnet", "kernel_effnet")

    def __init__(self) -> None:
        super().__init__()
        self.network = load_effnet("frechet_effnet")
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (N, 1280) of images (N, 3, H, W), uint8, of the side SIDE."""
        features: Tensor = self.network.extract_features(normalise_for_effnet(to_unit(pixels)))
        return features.mean(dim=(2, 3))


@dataclass(frozen=True)
class ImageFeatures:
    """Features of the images of a source that could be read.

    Args:
        values: Features (N, D), in the order of the names.
        names: Names of these N images.
        failed: Name and reason of each other image.
        sizes: Number of images of each (height, width).
    """

    values: NDArray[np.float64]
    names: list[str]
    failed: list[tuple[str, str]]
    sizes: Counter[tuple[int, int]]


@torch.inference_mode()
def extract_features(
    source: ImageSource | str | Path,
    network: FeatureNetwork | None = None,
    *,
    image_resolution: int | None = None,
    batch_size: int = 32,
    num_workers: int | None = None,
    device: torch.device | str = "cpu",
    limit: int | None = None,
    caption: str = "",
) -> ImageFeatures:
    """Extract the features of all images of a source.

    Args:
        source: The source, or a place that `open_source` takes.
        network: Network of the features; `EffnetFeatures` by default.
        image_resolution: Cut the centre square of each image and resize it to this side first, as
            training does.
        batch_size: Images that the network sees at once.
        num_workers: Loader processes; None: as many as CPUs.
        device: Device of the network.
        limit: Number of images, at most, the first by name.
        caption: Caption of the progress; by default the name of the source.

    Returns:
        The features.

    Raises:
        UserError: the source cannot be opened, or fewer than two of its images can be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> class MeanColour(FeatureNetwork):
        ...     def forward(self, pixels):
        ...         return pixels.float().mean(dim=(2, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a.png", "b.png"):
        ...         Image.new("RGB", (8, 8), (10, 20, 30)).save(Path(folder, name))
        ...     extract_features(folder, MeanColour(), num_workers=0).values.tolist()
        [[10.0, 20.0, 30.0], [10.0, 20.0, 30.0]]
    """
    if not isinstance(source, ImageSource):
        source = open_source(source)
    device = torch.device(device)
    network = (EffnetFeatures() if network is None else network).to(device)
    geometry = Geometry(image_resolution)
    data = PredictionData(
        source,
        geometry,
        resolution=network.side or 1,  # for a network that takes any size the small one is unused
        batch_size=batch_size,
        num_workers=num_workers,
        keep_full=network.side is None,
        done=frozenset() if limit is None else frozenset(source.names[limit:]),
    )
    values: dict[int, np.ndarray] = {}
    failed: list[tuple[str, str]] = []
    sizes: Counter[tuple[int, int]] = Counter()
    count = len(source) if limit is None else min(len(source), limit)
    composited = 0
    with Progress(caption or Path(source.location).name, count) as progress:
        for batch in data.predict_dataloader():
            composited += sum(batch.composited)
            for slot, error in enumerate(batch.errors):
                if error is not None:
                    failed.append((source.names[batch.positions[slot]], error))
            whole = partial(_whole, batch, source, geometry)
            for slots, pixels in _stacks(batch, network.side is not None, whole):
                found = network(pixels.to(device)).float().cpu().numpy()
                for slot in slots:
                    sizes[batch.sizes[slot]] += 1
                kept = zip(slots, found[: len(slots)], strict=True)
                values |= {batch.positions[slot]: row for slot, row in kept}
            progress.advance(sum(not skipped for skipped in batch.skipped))
    log_composited(composited)
    if len(values) < 2:
        first = f"; the first that is not: {failed[0][0]}: {failed[0][1]}" if failed else ""
        count = len(values) + len(failed)
        raise UserError(
            f"{source.location}: {len(values)} of {count} images can be used, "
            f"and a distance takes 2 or more{first}"
        )
    order = sorted(values)
    stacked = np.stack([values[position] for position in order]).astype(np.float64)
    return ImageFeatures(stacked, [source.names[position] for position in order], failed, sizes)


def _stacks(
    batch: ImageBatch, resized: bool, whole: Callable[[int], np.ndarray | None]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield slots with an image, and images (N, 3, H, W) of one size that begin with theirs.

    Resized images keep their padding, so that each batch is computed in the same shape.
    """
    present = [slot for slot, size in enumerate(batch.sizes) if size != (0, 0)]
    if resized:
        order = present + [slot for slot in range(len(batch.sizes)) if slot not in present]
        if present:
            yield present, batch.small[order]
        return
    groups: dict[tuple[int, int], list[int]] = {}
    for slot in present:
        groups.setdefault(batch.sizes[slot], []).append(slot)
    for (height, width), slots in groups.items():
        step = max(1, _MAX_PIXELS // (height * width))
        for start in range(0, len(slots), step):
            images = [_pixels(batch, slot, whole(slot)) for slot in slots[start : start + step]]
            yield slots[start : start + step], torch.stack(images)


def _whole(
    batch: ImageBatch, source: ImageSource, geometry: Geometry, slot: int
) -> np.ndarray | None:
    try:
        return whole_image(batch, slot, source, geometry)
    except ImageError as error:
        name = source.names[batch.positions[slot]]
        raise UserError(f"{source.location}: {name} cannot be read again: {error}") from error


def _pixels(batch: ImageBatch, slot: int, full: np.ndarray | None) -> Tensor:
    """Return the image (3, H, W) of a slot at its own size; one of one pixel is the small one."""
    return batch.small[slot] if full is None else torch.from_numpy(full).permute(2, 0, 1)
