"""Published weights, in published hands: sizes, kinds of files, and habits of the scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.watermark import build_pair

Call = Callable[..., tuple[int, list[str], list[str]]]

QUICK = ("--num_workers", 0, "--cuda", -1, "--quiet")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    return folder


def save_published(folder: Path, bits: int, resolution: int) -> tuple[Path, Path]:
    """Write untrained weights as the authors write theirs."""
    pair = build_pair("stegastamp", bits, resolution, seed=2)
    files = folder / "x_encoder.pth", folder / "x_decoder.pth"
    for network, file in zip(pair, files, strict=True):
        torch.save(network.state_dict(), file)
    return files


@pytest.mark.parametrize(("bits", "side"), [(1, 16), (512, 16), (9, 96)])
def test_sizes(bits: int, side: int, photos: Path, call: Call, tmp_path: Path) -> None:
    """Embed, check and detect at the ends of the published sizes."""
    encoder, decoder = save_published(tmp_path, bits, side)
    size = ("--image_resolution", 16) if side == 16 else ()
    words = ("--data_dir", photos, "--output_dir", tmp_path / "out", "--check", *size, *QUICK)
    code, out, _ = call("embed", "--encoder_path", encoder, *words)
    assert code == 0 and out[0].startswith("2 images fingerprinted")
    lines = (tmp_path / "out" / "embedded_fingerprints.txt").read_text().splitlines()
    assert [len(line.split()[1]) for line in lines] == [bits, bits]
    marked = tmp_path / "out" / "fingerprinted_images"
    words = ("--data_dir", marked, "--output_dir", tmp_path / "found", *size, *QUICK)
    code, _, _ = call("detect", "--decoder_path", decoder, *words)
    lines = (tmp_path / "found" / "detected_fingerprints.txt").read_text().splitlines()
    assert code == 0 and [len(line.split()[1]) for line in lines] == [bits, bits]


def test_an_encoder_without_its_decoder_needs_its_size(
    photos: Path, call: Call, tmp_path: Path
) -> None:
    encoder, decoder = save_published(tmp_path, 8, 32)
    decoder.unlink()
    words = ("--data_dir", photos, "--output_dir", tmp_path / "out", *QUICK)
    code, _, errors = call("embed", "--encoder_path", encoder, *words)
    assert code == 2 and len(errors) == 1
    assert "x_decoder.pth" in errors[0] and "--image_resolution" in errors[0]
    assert not (tmp_path / "out").exists()
    code, *_ = call("embed", "--encoder_path", encoder, *words, "--image_resolution", 32)
    assert code == 0


def test_embed_refuses_weights_that_are_no_numbers(
    photos: Path, call: Call, tmp_path: Path
) -> None:
    encoder, _ = save_published(tmp_path, 8, 32)
    state = torch.load(encoder, weights_only=True)
    torch.save({name: weight * float("nan") for name, weight in state.items()}, encoder)
    words = ("--data_dir", photos, "--output_dir", tmp_path / "out", *QUICK)
    code, _, errors = call("embed", "--encoder_path", encoder, *words)
    assert code == 2 and "no finite numbers" in errors[0]
