"""Known sources are rejected no more often than the level says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from artfp.data.pixels import to_unit
from artfp.data.sources import open_source
from artfp.passive.fitting.cross_validation import spare_fold
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.select import PLAIN_METHOD, FitOptions, fit_methods

SIDE, COUNT = 192, 40


def _draw(source: int, count: int, seed: int) -> torch.Tensor:
    """8-bit images (count, 3, SIDE, SIDE) of noise with a pattern that one image shows surely."""
    own = torch.Generator().manual_seed(77 + source)
    pattern = 1.3 * torch.randn(3, SIDE, SIDE, generator=own)
    chance = torch.Generator().manual_seed(1000 * seed + source)
    noise = 8.0 * torch.randn(count, 3, SIDE, SIDE, generator=chance)
    return (noise + pattern + 120.0).round().clamp(0, 255).to(torch.uint8)


def test_p_values_of_further_images_are_uniform(tmp_path: Path) -> None:
    """A part of all images gave them larger scores than those that they are compared with."""
    p_values = []
    for seed in range(2):
        for source, name in enumerate("ab"):
            (tmp_path / f"{seed}/{name}").mkdir(parents=True)
            for number, image in enumerate(_draw(source, COUNT, seed).permute(0, 2, 3, 1).numpy()):
                path = tmp_path / f"{seed}/{name}/{number:03}.png"
                Image.fromarray(image).save(path, compress_level=0)
        image_set = ImageSet({name: open_source(tmp_path / f"{seed}/{name}") for name in "ab"})
        options = FitOptions(method=PLAIN_METHOD, extractor="gaussian:sigma=1")
        attributor = fit_methods(image_set, options).attributor
        image_set.close()
        for source in range(2):
            x = to_unit(_draw(source, 30, 50 + seed))
            p_values.append(attributor.p_values(attributor.score_vectors(x))[:, source])
    found = np.concatenate(p_values)
    assert found.mean() > 0.4 and (found <= 0.1).mean() < 0.2  # .33 and .33 with all images


def test_the_spare_fold_lacks_what_the_others_lack() -> None:
    labels = np.repeat([0, 1], 55)
    folds = np.tile(np.repeat(np.arange(10), np.arange(1, 11)), 2)  # 1 to 10 images
    assert spare_fold(labels, folds) == 6  # 7 images, as the mean image has in its fold
