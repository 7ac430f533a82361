"""Visibility of whole photographs: patches stand for what is larger than a screen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from artfp.data.pixels import as_batch, to_8bit
from artfp.metrics.image_visibility import visibility_of_image
from artfp.metrics.scielab import visibility


@pytest.fixture(scope="module")
def photograph(photo_crops: Callable[..., Tensor]) -> np.ndarray:
    """A large image (1280, 1536, 3) of many crops, which differ from place to place."""
    crops = photo_crops(30, 256, seed=1).to(torch.uint8)
    rows = crops.view(5, 6, 3, 256, 256).permute(0, 3, 1, 4, 2)
    return rows.reshape(1280, 1536, 3).contiguous().numpy()


def changed(image: np.ndarray) -> np.ndarray:
    x = as_batch(image)
    cells = torch.randn(
        (1, 3, image.shape[0] // 8, image.shape[1] // 8),
        generator=torch.Generator().manual_seed(0),
    )
    noise = torch.nn.functional.interpolate(cells, x.shape[2:], mode="bilinear")
    marked: np.ndarray = to_8bit(x + 0.03 * noise)[0].permute(1, 2, 0).contiguous().numpy()
    return marked


@pytest.mark.parametrize("pixels_per_degree", [20.0, 60.0])
def test_patches_stand_for_the_whole(photograph: np.ndarray, pixels_per_degree: float) -> None:
    marked = changed(photograph)
    found = visibility_of_image(photograph, marked, pixels_per_degree)
    whole = visibility(as_batch(photograph), as_batch(marked), pixels_per_degree)
    assert found.p95.item() == pytest.approx(whole.p95.item(), rel=0.07)
    assert found.share.item() == pytest.approx(whole.share.item(), abs=0.04)


def test_small_images_are_seen_whole(photograph: np.ndarray) -> None:
    original = photograph[:300, :500]
    marked = changed(photograph)[:300, :500]
    found = visibility_of_image(original, marked)
    whole = visibility(as_batch(original.copy()), as_batch(marked.copy()))
    assert (found.p95.item(), found.share.item()) == (whole.p95.item(), whole.share.item())


@pytest.mark.parametrize("size", [(3000, 40), (1, 5000), (5, 4), (1100, 1100), (100, 30000)])
def test_any_shape(size: tuple[int, int]) -> None:
    draws = np.random.default_rng(0)
    original = draws.integers(0, 250, (*size, 3), dtype=np.uint8)
    found = visibility_of_image(original, original + np.uint8(2))
    assert found.p95.shape == (1,) and 0 < found.p95.item() < 3


MEASURED = """
import resource, time
import numpy as np
from artfp.metrics.image_visibility import visibility_of_image
image = np.arange(4000 * 6000 * 3, dtype=np.uint32).reshape(4000, 6000, 3).astype(np.uint8)
marked = image ^ np.uint8(1)
visibility_of_image(image[:64, :64], marked[:64, :64])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
visibility_of_image(image, marked)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / 1024, time.process_time() - began)
"""


def test_memory_and_time_of_24_megapixels() -> None:
    run = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True)
    megabytes, seconds = map(float, run.stdout.split())
    assert megabytes < 300
    assert seconds < 5


def test_refuses_unequal_shapes() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="shapes"):
        visibility_of_image(image, image[:7])
