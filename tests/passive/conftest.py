"""Folders of images, as studies read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from PIL import Image

from artfp.data.sources import open_source
from artfp.passive.fitting.image_set import ImageSet


@pytest.fixture(scope="module")
def image_set_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Mapping[str, np.ndarray]], ImageSet]]:
    """Makes the material of each source's images (N, H, W, 3), 8-bit, in files by number."""
    made: list[ImageSet] = []

    def make(images: Mapping[str, np.ndarray]) -> ImageSet:
        root = tmp_path_factory.mktemp("sources")
        for name, own in images.items():
            (root / name).mkdir()
            for row, image in enumerate(own):
                Image.fromarray(image).save(root / name / f"{row:03}.png")
        made.append(ImageSet({name: open_source(root / name) for name in images}))
        return made[-1]

    yield make
    for image_set in made:
        image_set.close()
