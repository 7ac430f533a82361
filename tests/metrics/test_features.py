"""Features of sets of images: the network's own, whatever the batches and the files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.sources import open_source
from artfp.metrics.features import (
    EFFNET_SIDE,
    EffnetFeatures,
    FeatureNetwork,
    extract_features,
)
from artfp.metrics.inception import load_inception
from artfp.metrics.perceptual import effnet_installed
from tests.progress import recorded_progress

needs_features = pytest.mark.skipif(not effnet_installed(), reason="needs the extra `features`")
needs_fid = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None, reason="needs the extra `fid`"
)


class Means(FeatureNetwork):
    """The mean colour and the size of images: features that a test can compute."""

    names = ("frechet_means", "kernel_means")

    def __init__(self, side: int | None = None) -> None:
        super().__init__()
        self.side = side
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.shapes.append(tuple(pixels.shape))
        x = pixels.double()
        height = torch.full((len(x), 1), float(x.shape[2]))
        return torch.cat([x.mean(dim=(2, 3)), height], dim=1)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Five images of two sizes and a file that is none."""
    rng = np.random.default_rng(0)
    for i, shape in enumerate([(8, 8), (6, 9), (8, 8), (8, 8), (6, 9)]):
        pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "3a.png").write_bytes(b"no image")
    return tmp_path


def means(folder: Path, names: list[str]) -> np.ndarray:
    images = [np.asarray(Image.open(folder / name), np.float64) for name in names]
    return np.array([[*image.mean(axis=(0, 1)), image.shape[0]] for image in images])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_sizes_and_failures(mixed: Path, batch_size: int) -> None:
    """Images stand in the order of their names; what cannot be read is named and left out."""
    with recorded_progress() as lines:
        found = extract_features(mixed, Means(), batch_size=batch_size, num_workers=0)
    assert found.names == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    np.testing.assert_allclose(found.values, means(mixed, found.names))
    assert [name for name, _ in found.failed] == ["3a.png"]
    assert [(line.done, line.total) for line in lines] == [(6, 6)]
    assert found.sizes == {(8, 8): 3, (6, 9): 2} and found.values.dtype == np.float64


def test_resized_for_the_network(mixed: Path) -> None:
    network = Means(side=16)
    found = extract_features(mixed, network, batch_size=4, num_workers=0)
    assert set(network.shapes) == {(4, 3, 16, 16)}
    expected = means(mixed, found.names)
    np.testing.assert_allclose(found.values[:, :3], expected[:, :3], atol=1.5)


def test_limit_and_resolution(mixed: Path) -> None:
    found = extract_features(mixed, Means(), image_resolution=5, limit=3, num_workers=0)
    assert found.names == ["0.png", "1.png", "2.png"] and (found.values[:, 3] == 5.0).all()


def test_a_zip_or_a_source_or_a_path(mixed: Path, tmp_path: Path) -> None:
    (mixed / "3a.png").unlink()
    places = (mixed, str(mixed), open_source(mixed))
    first, *others = [extract_features(place, Means(), num_workers=0).values for place in places]
    assert all(np.array_equal(first, other) for other in others)


def test_refused(mixed: Path, tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png", "4.png"):
        (mixed / name).unlink()
    with pytest.raises(UserError, match=r"1 of 2 images can be used, and .*2 or more.*3a\.png"):
        extract_features(mixed, Means(), num_workers=0)


@needs_features
def test_features_are_what_the_classifier_sees(photo_crops: Callable[..., Tensor]) -> None:
    """The package's own last layer on them gives the package's own answers."""
    network = EffnetFeatures()
    x = photo_crops(3, EFFNET_SIDE)
    with torch.no_grad():
        found = network(x)
        expected = network.network((x.float() - 127.0) / 128.0)
    assert found.shape == (3, 1280) and found.min() >= 0 and found.max() <= 6
    torch.testing.assert_close(network.network._fc(found), expected, rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in network.parameters()) and not network.training


@needs_features
def test_the_same_in_other_batches(photo_folder: Path) -> None:
    network = EffnetFeatures()
    few = extract_features(photo_folder, network, batch_size=5, limit=12, num_workers=0)
    many = extract_features(photo_folder, network, batch_size=12, limit=12, num_workers=0)
    assert few.names == many.names and few.values.shape == (12, 1280)
    np.testing.assert_allclose(few.values, many.values, atol=1e-4)


@needs_fid
def test_inception_takes_a_file_of_weights(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights stand in for the published ones; nothing is downloaded."""
    from torch_fidelity import feature_extractor_inceptionv3 as library

    def state(*_args: object, **_options: object) -> dict[str, Tensor]:
        raise AssertionError("a download")

    monkeypatch.setattr(library, "load_state_dict_from_url", state)
    with monkeypatch.context() as patch:
        patch.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: None)
        torch.manual_seed(0)
        original = library.FeatureExtractorInceptionV3("inception", ["2048"])
    path = tmp_path / "weights.pth"
    torch.save(original.state_dict(), path)
    network = load_inception(path)
    assert not network.published and network.names == ("frechet_inception", "kernel_inception")
    found = extract_features(mixed, network, num_workers=0, limit=2)
    assert found.values.shape == (2, 2048)
    pixels = np.array(Image.open(mixed / "1.png"))
    expected = original(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(found.values[1:], expected.numpy(), rtol=1e-4, atol=1e-5)


@needs_fid
def test_weights_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(UserError, match=r"weights\.pth: cannot be read"):
        load_inception(path)
    for content in (b"", b"PK\x03\x04 no checkpoint", b"no checkpoint"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not the weights of torch-fidelity's Inception"):
            load_inception(path)
    torch.save({"some": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="not the weights of torch-fidelity's Inception"):
        load_inception(path)
    torch.save(Image.Image, path)  # a class: unpickling could run anything
    with pytest.raises(UserError, match="not the weights of torch-fidelity's Inception"):
        load_inception(path)
