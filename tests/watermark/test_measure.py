"""Figures of stubs whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import metadata

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artfp.data import decode_image, encode_image
from artfp.data.reading import batch_images
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.perceptual import effnet_installed, perceptual_distance
from artfp.perturbations import Perturbation
from artfp.perturbations.registry import PERTURBATIONS, known_perturbations
from artfp.watermark import build_pair
from artfp.watermark import measure as module
from artfp.watermark.api import decode_batch, decode_pixels, fingerprint_image
from artfp.watermark.measure import measure_images
from artfp.watermark.measure_conditions import (
    CONDITIONS,
    MORE_CONDITIONS,
    apply_condition,
    measured_conditions,
)
from artfp.watermark.networks.base import Decoder, Encoder

BITS = 16


class Nothing(Encoder):
    def __init__(self) -> None:
        super().__init__(BITS, 64)
        self.none = nn.Parameter(torch.zeros(()))

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Rows(Nothing):
    """Writes each bit as a bright or dark block of rows over the whole width."""

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        rows = 0.5 + 0.4 * (bits * 2 - 1)
        return rows.repeat_interleave(64 // BITS, 1).view(len(x), 1, 64, 1) - x


class RowReader(Decoder):
    """Is a block of rows brighter than halfway between the darkest and the brightest?"""

    def __init__(self) -> None:
        super().__init__(BITS, 64)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(len(x), 3, BITS, -1).mean(dim=(1, 3))
        return rows - (rows.amin(dim=1, keepdim=True) + rows.amax(dim=1, keepdim=True)) / 2


class AllOnes(Decoder):
    def __init__(self) -> None:
        super().__init__(BITS, 64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), BITS)


@pytest.fixture(scope="module")
def images(photo_crops: Callable[..., Tensor]) -> list[np.ndarray]:
    """Twenty pictures, some larger than the networks and not square."""
    crops = photo_crops(20, 128, seed=6).permute(0, 2, 3, 1).numpy()
    sizes = [(64, 64), (128, 128), (100, 128), (128, 71)]
    return [c[: sizes[i % 4][0], : sizes[i % 4][1]].copy() for i, c in enumerate(crops)]


MOVED = ("centre_crop10", "random_crop", "rotation10", "combination")
"""Conditions under which rows do not stay where they were."""


def test_perfect_decoder(images: list[np.ndarray]) -> None:
    figures = measure_images(Rows(), RowReader(), images)
    assert figures["images"] == 20
    still = [name for name in measured_conditions() if name not in MOVED]
    for name in ["", *(f"_{condition}" for condition in still)]:
        assert figures[f"bit_accuracy{name}"] == 1.0, name
    for name in MOVED:
        assert 0.5 < figures[f"bit_accuracy_{name}"] < 1.0, name
    assert figures["perfect_share"] == 1.0
    assert 0.35 < figures["bit_accuracy_unmarked"] < 0.65
    assert figures["psnr"] < 15


def test_mean_over_the_conditions(images: list[np.ndarray]) -> None:
    figures = measure_images(Rows(), RowReader(), images[:8])
    names = ["bit_accuracy", *(f"bit_accuracy_{condition}" for condition in CONDITIONS)]
    expected = np.mean([figures[name] for name in names])
    assert figures["bit_accuracy_mean"] == pytest.approx(expected, abs=1e-5)
    assert len(names) == 20


def test_useless_decoder(images: list[np.ndarray]) -> None:
    """A constant word meets random bits: half of them, within 4 standard errors."""
    figures = measure_images(Nothing(), AllOnes(), images)
    for name, value in figures.items():
        if name.startswith("bit_accuracy"):
            assert abs(value - 0.5) < 4 * 0.5 / (20 * BITS) ** 0.5, name
    assert figures["perfect_share"] == 0.0
    assert figures["psnr"] == pytest.approx(99.0, abs=1e-3)
    assert figures["psnr_worst"] == pytest.approx(99.0, abs=1e-3)
    assert figures["ssim"] == pytest.approx(1.0)


def test_worst_image(images: list[np.ndarray]) -> None:
    class OneBad(Nothing):
        """Adds 0.1 to flat images, nothing to others."""

        def residual(self, x: Tensor, bits: Tensor) -> Tensor:
            return torch.full_like(x, 0.1) * (x.std(dim=(1, 2, 3), keepdim=True) < 1e-4)

    flat = np.full((64, 64, 3), 101, np.uint8)
    figures = measure_images(OneBad(), AllOnes(), [*images, flat])
    worst = -20 * math.log10(26 / 255)  # 101 + 25.5 = 126.5, rounded to even: 126 or 127
    assert figures["psnr_worst"] == pytest.approx(worst, abs=0.4)
    assert figures["psnr"] == pytest.approx((20 * 99.0 + figures["psnr_worst"]) / 21, abs=0.01)


def test_against_one_image_at_a_time(images: list[np.ndarray]) -> None:
    """The same words by the networks' own door for one image, in the order of the batches."""
    encoder, decoder = (network.eval() for network in build_pair("residual", BITS, 64))
    figures = measure_images(encoder, decoder, images, seed=7, strength=1.5)  # type: ignore[arg-type]
    draws = torch.Generator().manual_seed(7)
    rows = []
    for stack in batch_images(images, pixels=1 << 21):
        words = torch.randint(0, 2, (len(stack), BITS), generator=draws).numpy().astype(np.uint8)
        received = []
        for original, word in zip(stack, words, strict=True):
            marked = fingerprint_image(encoder, original, word, 1.5)  # type: ignore[arg-type]
            received.append(decode_image(encode_image(marked)).pixels)
            x, y = (torch.tensor(i).permute(2, 0, 1)[None] / 255 for i in (original, received[-1]))
            rows.append(
                {
                    "psnr": float(psnr(y, x)),
                    "ssim": float(ssim(y, x)),
                    "bit_accuracy": (decode_pixels(decoder, received[-1]) == word).mean(),  # type: ignore[arg-type]
                    "bit_accuracy_unmarked": (decode_pixels(decoder, original) == word).mean(),  # type: ignore[arg-type]
                }
            )
            if effnet_installed():
                rows[-1]["effnet_distance"] = float(perceptual_distance(y, x))
        pixels = torch.from_numpy(np.stack(received)).permute(0, 3, 1, 2)
        for name in CONDITIONS:  # what they draw
            apply_condition(name, pixels, draws)
    assert len(rows) == 20
    for name in rows[0]:
        expected = np.mean([row[name] for row in rows])
        assert figures[name] == pytest.approx(expected, abs=2e-3 if "bit" in name else 1e-4), name


def test_strength(images: list[np.ndarray]) -> None:
    """Twice the residual is 6 dB; words and draws stay."""
    encoder, decoder = (network.eval() for network in build_pair("residual", BITS, 64))
    weak, strong = (
        measure_images(encoder, decoder, images[:4], strength=strength)  # type: ignore[arg-type]
        for strength in (1.0, 2.0)
    )
    assert weak["psnr"] - strong["psnr"] == pytest.approx(6.0, abs=0.3)
    assert weak["ssim"] > strong["ssim"]
    if effnet_installed():
        assert weak["effnet_distance"] < strong["effnet_distance"]
    assert strong["bit_accuracy_unmarked"] == weak["bit_accuracy_unmarked"]


def test_min_psnr(images: list[np.ndarray]) -> None:
    """A floor for the worst image; the words and draws stay."""
    encoder, decoder = (network.eval() for network in build_pair("residual", BITS, 64))
    free = measure_images(encoder, decoder, images[:4])  # type: ignore[arg-type]
    limit = (free["psnr"] + free["psnr_worst"]) / 2
    limited = measure_images(encoder, decoder, images[:4], min_psnr=limit)  # type: ignore[arg-type]
    assert free["psnr_worst"] < limit - 0.1 < limited["psnr_worst"]
    assert limited["psnr"] > free["psnr"]
    assert limited["bit_accuracy_unmarked"] == free["bit_accuracy_unmarked"]


def test_without_the_extra(images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "effnet_installed", lambda: False)
    assert "effnet_distance" not in measure_images(Nothing(), AllOnes(), images[:1])


class Darken(Perturbation):
    """Values multiplied by 1 - strength."""

    name, unit, levels = "darken", "fraction", (0.25, 1.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Darkened by (N,); a draw is made."""
        torch.rand(1, generator=generator)
        return x * (1.0 - strength.view(-1, 1, 1, 1))


def test_perturbations_of_other_packages_are_measured_too(
    images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = measure_images(Rows(), RowReader(), images[:3])
    point = metadata.EntryPoint("darken", f"{__name__}:Darken", "artfp.perturbations")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    known_perturbations.cache_clear()
    try:
        found = measure_images(Rows(), RowReader(), images[:3])
    finally:
        monkeypatch.undo()
        known_perturbations.cache_clear()
    assert set(found) - set(before) == {"bit_accuracy_darken0.25", "bit_accuracy_darken1"}
    assert found["bit_accuracy_darken0.25"] == 1.0 > found["bit_accuracy_darken1"]
    assert {name: found[name] for name in before} == before  # also the mean


@pytest.mark.parametrize("name", [*CONDITIONS, *MORE_CONDITIONS])
def test_conditions(name: str, images: list[np.ndarray]) -> None:
    """They are what their names say, keep the shape, and depend on the generator alone."""
    pixels = torch.from_numpy(np.stack(images[3::4])).permute(0, 3, 1, 2).contiguous()
    before = pixels.clone()
    first, again = (
        apply_condition(name, pixels, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, again) and torch.equal(pixels, before)
    assert first.dtype == torch.uint8 and first.shape == pixels.shape
    assert not torch.equal(first, pixels)
    kind = measured_conditions()[name][0]
    assert kind in PERTURBATIONS and name.startswith(kind)


def test_random_crop_draws_for_each_image() -> None:
    """Of a ramp from left to right a crop of 5 to 20% leaves 95 to 80%."""
    ramp = torch.arange(200, dtype=torch.uint8).view(1, 1, 1, 200).expand(40, 3, 100, 200)
    cut = apply_condition("random_crop", ramp, torch.Generator().manual_seed(0))
    left = (cut[:, 0, 50, -1].int() - cut[:, 0, 50, 0].int() + 1) / 200
    assert 0.79 < float(left.min()) < 0.83 and 0.92 < float(left.max()) < 0.96


def test_read_tells_the_shape() -> None:
    """A decoder learns the shape that images had before they became squares."""

    class Shape(AllOnes):
        def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
            assert x.shape == (2, 3, 64, 64) and aspects.tolist() == [0.5, 0.5]
            return x.mean(dim=(1, 2, 3)).view(2, 1).expand(2, BITS) - 0.9, ["", ""]

    pixels = torch.zeros(2, 3, 50, 100, dtype=torch.uint8)
    pixels[1] = 255
    assert decode_batch(Shape(), pixels).tolist() == [[0] * BITS, [1] * BITS]


@pytest.mark.parametrize("shape", [(5, 40, 3), (40, 10, 3)])
def test_too_small(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="a side under 11 pixels"):
        measure_images(Nothing(), AllOnes(), [np.zeros(shape, np.uint8)])


def test_smallest() -> None:
    figures = measure_images(Nothing(), AllOnes(), [np.full((11, 11, 3), 99, np.uint8)])
    assert figures["images"] == 1 and figures["ssim"] == pytest.approx(1.0, abs=1e-3)


def test_no_image() -> None:
    with pytest.raises(ValueError, match="no image to measure on"):
        measure_images(Nothing(), AllOnes(), [])
