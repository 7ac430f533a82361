"""Who made the images of a source: judgements of each, and of all together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed
from artfp.data.sources import ImageSource
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.score_model import Values
from artfp.passive.attributors.verdicts import (
    GroupPrediction,
    SourcePrediction,
    predict_group,
    predict_images,
)
from artfp.passive.attributors.window import central_window

_BATCH_PIXELS = 1 << 18
_MOST = 256


@dataclass(frozen=True)
class AttributedImages:
    """What became of the images of a source.

    `names` and `sizes`, (height, width), of the N images that could be used; `vectors` (N, D), what
    the parts score; `judgements` of each image; `failed`, the other images with the reasons.
    """

    names: list[str]
    sizes: list[tuple[int, int]]
    vectors: Values
    judgements: list[SourcePrediction]
    failed: Failed


def attribute_images(
    attributor: FittedAttributor,
    source: ImageSource,
    device: torch.device | str = "cpu",
    tick: Callable[[int], None] = lambda images: None,
) -> AttributedImages:
    """Judge every image by itself. Images that the attributor's policy refuses fail.

    `tick` is called with numbers of images done. Raises UserError: no image can be used.
    """
    failed: Failed = []
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    found = []
    for batch, about in _batches(attributor, source, failed, tick):
        found.append(attributor.score_vectors(batch.to(device)))
        for name, size in about:
            names.append(name)
            sizes.append(size)
    if not names:
        reason = f"; the first: {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise UserError(f"{source.location}: none of {len(source)} images can be used{reason}")
    vectors = np.concatenate(found)
    logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
    judgements = predict_images(logs, fits, attributor.sources, attributor.rule)
    return AttributedImages(names, sizes, vectors, judgements, failed)


def attribute_group(attributor: FittedAttributor, vectors: Values) -> GroupPrediction:
    """The judgement of images (N, D) that have one source."""
    logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
    return predict_group(logs, fits, attributor.sources, attributor.rule, attributor.model.images)


def _batches(
    attributor: FittedAttributor,
    source: ImageSource,
    failed: Failed,
    tick: Callable[[int], None],
) -> Iterator[tuple[Tensor, list[tuple[str, tuple[int, int]]]]]:
    """Windows (n, 3, h, w) in [0, 1] with the names and sizes of their images."""
    window = attributor.policy.window
    step = max(1, min(_MOST, _BATCH_PIXELS // (window[0] * window[1])))
    batch: list[np.ndarray] = []
    about: list[tuple[str, tuple[int, int]]] = []
    for index, name in enumerate(source.names):
        try:
            pixels = decode_image(source.read(index)).pixels
            height, width = pixels.shape[:2]
            if reason := attributor.policy.refuses(height, width):
                raise ImageError(reason)
        except ImageError as error:
            failed.append((name, str(error)))
            tick(1)
            continue
        batch.append(central_window(pixels, window, (0, 1)))
        about.append((name, (height, width)))
        if len(batch) == step:
            yield _stacked(batch), about
            tick(len(batch))
            batch, about = [], []
    if batch:
        yield _stacked(batch), about
        tick(len(batch))


def _stacked(batch: list[np.ndarray]) -> Tensor:
    return to_unit(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous())
