"""Architectures of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from artfp.watermark import Architecture, Decoder, Encoder, Watermark, build_pair, save_network
from artfp.watermark.networks.build import known_architectures


class BlockEncoder(Encoder):
    """Adds the message as brightness of blocks."""

    architecture = "blocks"

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__(bits, resolution)
        self.strength = nn.Parameter(torch.tensor(0.05))

    def residual(self, x: Tensor, messages: Tensor) -> Tensor:
        side = int(self.bits**0.5)
        blocks = (messages * 2.0 - 1.0).view(-1, 1, side, side) * self.strength
        return blocks.expand(-1, 3, -1, -1)


class BlockDecoder(Decoder):
    """Takes blocks brighter than the mean for ones."""

    architecture = "blocks"

    def forward(self, x: Tensor) -> Tensor:
        side = int(self.bits**0.5)
        blocks = nn.functional.adaptive_avg_pool2d(x.mean(dim=1, keepdim=True), side).flatten(1)
        return blocks - blocks.mean(dim=1, keepdim=True)


BLOCKS = Architecture(BlockEncoder, BlockDecoder)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two entry points of another package: an architecture, and what is none."""

    def entry_points(group: str) -> list[metadata.EntryPoint]:
        values = {"blocks": f"{__name__}:BLOCKS", "none": f"{__name__}:BlockEncoder"}
        return [metadata.EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    monkeypatch.setattr(
        metadata.EntryPoint, "load", lambda self: BLOCKS if self.name == "blocks" else BlockEncoder
    )
    known_architectures.cache_clear()
    yield
    known_architectures.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_an_architecture_of_another_package(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(known_architectures()) == ["residual", "stegastamp", "blocks"]
    assert "plugin none" in caplog.text
    encoder, decoder = build_pair("blocks", 16, 32)
    save_network(encoder, tmp_path / "encoder.safetensors")
    save_network(decoder, tmp_path / "decoder.safetensors")
    watermark = Watermark.load(tmp_path / "encoder.safetensors")
    message = torch.randint(0, 2, (16,), generator=torch.Generator().manual_seed(0)).numpy()
    marked = watermark.embed(torch.full((1, 3, 50, 40), 0.5), message)
    assert watermark.detect(marked, message)[0].matches == 16


def test_an_unknown_architecture() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'x'; known: residual, stegastamp"):
        build_pair("x", 16, 32)
