"""The peers: their own words come back, RGB stays RGB, and what is missing is named."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.data.pixels import as_batch
from artfp.passive.attributors.base import Embedder
from artfp.robustness.third_party import PEERS

PACKAGES = {"blind-watermark": "blind_watermark"}


@pytest.mark.parametrize("name", ["dwtDct", "dwtDctSvd", "blind-watermark"])
def test_words_come_back(name: str, photographs: list[np.ndarray]) -> None:
    pytest.importorskip(PACKAGES.get(name, "imwatermark"))
    _round_trip(name, photographs[3][:259, :301])


def test_riva_gan(photographs: list[np.ndarray]) -> None:
    pytest.importorskip("imwatermark")
    pytest.importorskip("onnxruntime")
    _round_trip("rivaGan", photographs[0][:256, :256])


def _round_trip(name: str, pixels: np.ndarray) -> None:
    peer = PEERS[name]()
    assert isinstance(peer, Embedder) and peer.settings
    word = np.random.default_rng(0).integers(0, 2, peer.bits).astype(np.uint8)
    kept = pixels.copy()
    marked = peer.embed(pixels, word)
    assert marked.shape == pixels.shape and marked.dtype == np.uint8
    np.testing.assert_array_equal(pixels, kept)
    error = marked.astype(float) - pixels
    assert 30.0 < 10 * np.log10(255**2 / np.mean(error**2)) < 60.0
    found = peer.read(as_batch(marked)).numpy()
    assert found.shape == (1, peer.bits) and found.dtype == np.uint8
    assert np.mean(found[0] == word) >= (0.7 if name == "dwtDct" else 0.97)


def test_too_small_images_are_refused() -> None:
    pytest.importorskip("imwatermark")
    pytest.importorskip("blind_watermark")
    assert PEERS["dwtDct"]().refuses(256, 256) is None
    assert "256x256" in (PEERS["dwtDct"]().refuses(255, 256) or "")
    blind = PEERS["blind-watermark"]()
    word = np.zeros(64, np.uint8)
    for height, width in [(64, 64), (64, 70), (72, 64), (71, 63), (65, 72)]:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        if blind.refuses(height, width):
            with pytest.raises(AssertionError):
                blind.embed(pixels, word)
        else:
            blind.embed(pixels, word)
    assert blind.refuses(64, 64) and not blind.refuses(72, 64)


@pytest.mark.filterwarnings("error")
def test_flat_images_are_read() -> None:
    pytest.importorskip("blind_watermark")
    found = PEERS["blind-watermark"]().read(as_batch(np.zeros((72, 72, 3), np.uint8)))
    assert found.shape == (1, 64)


def test_the_start_method_of_processes_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("blind_watermark")
    for name in [name for name in sys.modules if name.split(".")[0] == "blind_watermark"]:
        monkeypatch.delitem(sys.modules, name)
    before = multiprocessing.get_start_method()  # from here on it cannot be set again
    setter = multiprocessing.set_start_method
    PEERS["blind-watermark"]()
    assert multiprocessing.get_start_method() == before
    assert multiprocessing.set_start_method == setter


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("dwtDct", "imwatermark"),
        ("rivaGan", "onnxruntime"),
        ("blind-watermark", "blind_watermark"),
    ],
)
def test_missing_extra(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if module == "onnxruntime":
        pytest.importorskip("imwatermark")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"{name} needs .*pip install -e '\.\[peers\]'"):
        PEERS[name]()
