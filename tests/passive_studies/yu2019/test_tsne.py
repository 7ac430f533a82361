"""Pictures of features."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import silhouette_score

from artfp.passive_studies.yu2019.tsne import embed_tsne, plot_embedding


def features(width: int) -> tuple[np.ndarray, np.ndarray]:
    random, labels = np.random.default_rng(0), np.arange(90) % 3
    means = 6.0 * random.standard_normal((3, width)) / np.sqrt(width) * 3.0
    return means[labels] + random.standard_normal((90, width)), labels


@pytest.mark.parametrize("width", [4, 200])
def test_groups_stay_groups(width: int) -> None:
    x, labels = features(width)
    points = embed_tsne(x)
    assert points.shape == (90, 2)
    assert silhouette_score(points, labels) > 0.5
    assert (embed_tsne(x) == points).all()  # of one seed


def test_few_images_and_one_feature() -> None:
    assert embed_tsne(np.arange(9.0)[:, None]).shape == (9, 2)
    with pytest.raises(ValueError, match=r"features \(7, 3\)"):
        embed_tsne(np.ones((7, 3)))
    with pytest.raises(ValueError, match="finite"):
        embed_tsne(np.full((20, 3), np.inf))


def test_each_source_has_its_colour() -> None:
    points = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    png = plot_embedding(points, [0, 1, 2], ("a", "b", "a name that is longer than the legend is"))
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)} <= colours
