"""Distances of sets of images: read them, extract features, compare."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from artfp.core.errors import one_line
from artfp.data.sources import ImageSource, open_source
from artfp.metrics.features import (
    EffnetFeatures,
    FeatureNetwork,
    ImageFeatures,
    extract_features,
)
from artfp.metrics.frechet_kernel import (
    MIN_IMAGES_PER_FEATURE,
    compare_distances,
    frechet_distance,
    frechet_distance_limit,
    kernel_distance,
)
from artfp.metrics.inception import load_inception
from artfp.metrics.report import DistanceRow, compared_rows, explain, single_rows
from artfp.metrics.settings import DistanceSettings

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class MeasuredDistance:
    """Distances of sets of images.

    Args:
        rows: A row for each number.
        places: The sets A, B and, if there is one, C.
        images: Number of images of each.
        features: Number of features.
        explanation: Sentences on what the numbers mean.
        failed: Name, with its set, and reason of each image that could not be used.
    """

    rows: list[DistanceRow]
    places: tuple[str, ...]
    images: tuple[int, ...]
    features: int
    explanation: str
    failed: list[tuple[str, str]]

    @property
    def letters(self) -> str:
        """Letters of the sets."""
        return "ABC"[: len(self.places)]


def measure_distance(
    settings: DistanceSettings, network: FeatureNetwork | None = None
) -> MeasuredDistance:
    """Measure the Frechet and the kernel distance of sets of images in a network's features.

    Args:
        settings: Sets of images and features.
        network: Network of the features, instead of EfficientNet or the one that
            `settings.inception_weights` asks for.

    Returns:
        The distances of B, and of C if there is one, to A, with intervals.

    Raises:
        UserError: a set that cannot be read, or a package that is not installed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> class MeanColour(FeatureNetwork):
        ...     names = ("frechet_colour", "kernel_colour")
        ...     def forward(self, pixels):
        ...         return pixels.float().mean(dim=(2, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, level in (("a", 10), ("b", 13)):
        ...         Path(folder, name).mkdir()
        ...         for i in range(9):
        ...             image = Image.new("RGB", (8, 8), (level + i % 3, 0, 0))
        ...             image.save(Path(folder, name, f"{i}.png"))
        ...     places = (f"{folder}/a", f"{folder}/b")
        ...     settings = DistanceSettings(data_dir=places, num_workers=0)
        ...     frechet, kernel = measure_distance(settings, MeanColour()).rows
        >>> round(frechet.value, 3)
        9.0
    """
    sources = [open_source(place) for place in settings.places]
    device = settings.torch_device()
    if network is None:
        weights = settings.inception_weights
        network = EffnetFeatures() if weights is None else load_inception(weights)
    sets = [_features(settings, source, network, device) for source in sources]
    _log_sizes(settings.places, sets)
    images = tuple(len(each.values) for each in sets)
    width = sets[0].values.shape[1]
    return MeasuredDistance(
        rows=_compare(settings, sets, network.names),
        places=settings.places,
        images=images,
        features=width,
        explanation=explain(network.names, images, width, settings.confidence),
        failed=[
            (f"{place}: {name}", reason)
            for place, each in zip(settings.places, sets, strict=True)
            for name, reason in each.failed
        ],
    )


def _features(
    settings: DistanceSettings, source: ImageSource, network: FeatureNetwork, device: str
) -> ImageFeatures:
    return extract_features(
        source,
        network,
        image_resolution=settings.image_resolution,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        device=device,
        limit=settings.limit,
    )


def _compare(
    settings: DistanceSettings, sets: list[ImageFeatures], names: tuple[str, str]
) -> list[DistanceRow]:
    real, *others = (each.values for each in sets)
    if len(others) == 2:
        comparison = compare_distances(real, others[0], others[1], settings.confidence)
        return compared_rows(comparison, names)
    (own,) = others
    frechet, kernel = names
    found = {frechet: frechet_distance(real, own, settings.confidence)}
    if min(len(real), len(own)) >= MIN_IMAGES_PER_FEATURE * real.shape[1]:
        found[f"{frechet}_limit"] = frechet_distance_limit(real, own, settings.confidence)
    found[kernel] = kernel_distance(real, own, settings.confidence)
    return single_rows(found)


def _log_sizes(places: tuple[str, ...], sets: list[ImageFeatures]) -> None:
    """Warn if the sets differ in the size of their images, which the distance includes."""
    most_common = [each.sizes.most_common(1)[0][0] for each in sets]
    if len(set(most_common)) > 1:
        sizes = ", ".join(
            f"{one_line(place)} mostly {width}x{height}"
            for place, (height, width) in zip(places, most_common, strict=True)
        )
        _log.warning(
            "image sizes differ (%s), and the distance includes that; "
            "--image_resolution makes them equal",
            sizes,
        )
