"""An image is read as it is, unless another orientation is clearly surer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from artfp.watermark import build_pair
from artfp.watermark.networks.base import Decoder
from artfp.watermark.networks.orientation import (
    ORIENTATIONS,
    Orientation,
    OrientingDecoder,
    orientation_margin,
)
from artfp.watermark.networks.realigning import take_surer_pictures, with_realignment

BITS = 8


class Corner(Decoder):
    """Decodes `value` for all bits, the red of the upper left pixel in units of 20."""

    def __init__(self) -> None:
        super().__init__(BITS, 32)
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return (20.0 * x[:, 0, 0, 0])[:, None].expand(-1, BITS).clone()


def corners(*values: float) -> Tensor:
    """One image (1, 3, 32, 32); its corners clockwise from the upper left."""
    x = torch.zeros(1, 3, 32, 32)
    x[0, :, [0, 0, -1, -1], [0, -1, -1, 0]] = torch.tensor(values)
    return x


def decode(decoder: Decoder, x: Tensor) -> tuple[float, str]:
    logits, notes = decoder.decode(x, torch.ones(len(x)))
    return float(logits[0, 0]) / 20.0, notes[0]


@pytest.mark.parametrize("other", [(0.1, 0.115, 0, 0), (0.1, 0, 0.23, 0), (0.1, 0, 0, 0.1)])
def test_a_weak_image_is_read_as_it_is(other: tuple[float, ...]) -> None:
    """What another orientation gives by chance is no reason to turn the image."""
    value, note = decode(OrientingDecoder(Corner()), corners(*other))
    assert value == pytest.approx(0.1) and note == ""
    if other[1:] != (0, 0, 0.1):
        assert decode(OrientingDecoder(Corner(), margin=1.0), corners(*other))[1]


def test_what_is_clearly_surer_is_taken() -> None:
    for place, note in ((1, "mirrored"), (2, "turned by 180 degrees")):
        values = [0.1, 0.0, 0.0, 0.0]
        excess = (orientation_margin(BITS) - 1.0) * (1 if place == 1 else 2)
        values[place] = 0.1 * (1.0 + excess) + 0.01
        value, found = decode(OrientingDecoder(Corner()), corners(*values))
        assert value == pytest.approx(values[place]) and found == note


def test_a_clear_image_is_decoded_once() -> None:
    decoder = Corner()
    assert decode(OrientingDecoder(decoder), corners(0.5, 1.0, 1.0, 1.0)) == (0.5, "")
    assert decoder.images == 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_undo_is_the_inverse(orientation: Orientation) -> None:
    x = torch.rand(2, 3, 8, 8)
    turned = (x.flip(-1) if orientation.mirrored else x).rot90(orientation.turns, (-2, -1))
    assert torch.equal(orientation.undo(turned), x)


def test_an_architecture_without_carriers_is_read_in_all_orientations() -> None:
    _, plain = build_pair("stegastamp", 16, 32, seed=1)
    decoder = with_realignment(plain.eval())
    assert isinstance(decoder, OrientingDecoder) and not decoder.training
    assert (decoder.bits, decoder.resolution, decoder.architecture) == (16, 32, "stegastamp")
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits, notes = decoder.decode(x, torch.ones(6))
        sureness = torch.stack([plain(each.undo(x)).abs().mean(dim=1) for each in ORIENTATIONS])
        for i, note in enumerate(notes):
            number = [str(each) for each in ORIENTATIONS].index(note)
            own = plain(ORIENTATIONS[number].undo(x[i : i + 1]))[0]
            torch.testing.assert_close(logits[i], own, rtol=0, atol=1e-5)
            assert number == 0 or sureness[number, i] > orientation_margin(16) * sureness[0, i]


def test_a_picture_without_its_borders_must_be_surer_too() -> None:
    decoded = torch.full((2, BITS), 1.0), ["", "mirrored"]
    pictures = torch.tensor([[1.6] * BITS, [3.0] * BITS, [2.0] * BITS]), ["", "mirrored", ""]
    boxes = [(0, 9, 0, 9), (1, 21, 2, 32), (1, 21, 2, 32)]
    logits, notes = take_surer_pictures(decoded, pictures, [0, 1, 1], boxes)
    assert logits[:, 0].tolist() == [1.0, 3.0]
    assert notes == ["", "picture of 30x20 at (2, 1), mirrored"]
