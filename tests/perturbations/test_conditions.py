"""Conditions by name, their draws, and the images they are applied to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from artfp.core.errors import UserError
from artfp.data.reading import Spool, equal_batches, stack_pixels
from artfp.perturbations import Perturbation
from artfp.perturbations.conditions import Condition, arms, choose, parse_strengths
from artfp.perturbations.registry import PERTURBATIONS


class TwoWays(Perturbation):
    name, mildest, harshest, both_ways = "two", 1.0, 2.0, True


def test_arms() -> None:
    assert arms(PERTURBATIONS["jpeg"], [10, 90, 50]) == [[90, 50, 10]]
    assert arms(PERTURBATIONS["noise"], [0.1, 0.01, 0.1]) == [[0.01, 0.1]]
    assert arms(TwoWays(), [2.0, 0.5, 1.5, 0.75]) == [[0.75, 0.5], [1.5, 2.0]]
    assert arms(TwoWays(), [1.0, 2.0]) == [[1.0, 2.0]]
    assert arms(PERTURBATIONS["mirror"], [1.0]) == [[1.0]]


def test_all_perturbations_with_their_levels() -> None:
    found = choose()
    assert found[0] == Condition() and found[0].name == "identity"
    assert list(dict.fromkeys(c.group for c in found[1:])) == list(PERTURBATIONS)
    for name, perturbation in PERTURBATIONS.items():
        strengths = [c.strength for c in found if c.group == name]
        assert sorted(map(float, strengths)) == sorted(perturbation.levels)  # type: ignore[arg-type]


def test_strengths_replace_levels() -> None:
    found = choose(["noise", "jpeg"], parse_strengths("jpeg=50, 95 ,75"))
    expected = [f"noise@{level:g}" for level in PERTURBATIONS["noise"].levels]
    assert [c.name for c in found] == ["identity", *expected, "jpeg@95", "jpeg@75", "jpeg@50"]


@pytest.mark.parametrize(
    ("names", "strengths", "said"),
    [
        (["jpg"], {}, "no perturbation 'jpg'; did you mean jpeg"),
        (["zzzz"], {}, "choose from .*jpeg"),
        (["noise"], {"jpeg": [50.0]}, "jpeg, which is not among"),
        (None, {"jpge": [50.0]}, "did you mean jpeg"),
        (None, {"noise": [float("nan")]}, r"noise cannot be applied at nan .*0\.02"),
        (None, {"blur": [float("inf")]}, "blur cannot be applied at inf"),
    ],
)
def test_refused(names: list[str] | None, strengths: dict[str, list[float]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose(names, strengths)


@pytest.mark.parametrize("text", ["", ";", "jpeg", "jpeg=", "jpeg=a", "=5", "jpeg=5;jpeg=6"])
def test_strengths_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="jpeg=90"):
        parse_strengths(text)


def test_draws_depend_on_seed_condition_and_batch_alone() -> None:
    pixels = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
    noise = PERTURBATIONS["noise"]
    first = Condition(noise, 0.05).apply(pixels, 3, "b0")
    torch.rand(5)
    assert torch.equal(Condition(noise, 0.05).apply(pixels, 3, "b0"), first)
    for other in (
        Condition(noise, 0.05).apply(pixels, 4, "b0"),
        Condition(noise, 0.05).apply(pixels, 3, "b1"),
        Condition(noise, 0.050001).apply(pixels, 3, "b0"),
    ):
        assert not torch.equal(other, first)
    assert torch.equal(Condition().apply(pixels, 3, "b0"), pixels)


def test_a_perturbation_of_another_shape_is_refused() -> None:
    class Halves(Perturbation):
        name = "halves"

        def real(
            self, pixels: torch.Tensor, strength: float, generator: torch.Generator
        ) -> torch.Tensor:
            return pixels[..., ::2]

    with pytest.raises(ValueError, match="halves@1"):
        Condition(Halves(), 1.0).apply(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 0, "")


def test_spool_keeps_images_of_any_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in [(3, 5), (1, 1), (40, 7)]]
    with Spool(tmp_path / "not/there/yet") as spool:
        for image in images:
            spool.append(image[:, ::-1])
            assert spool[len(spool) - 1].shape == image.shape
        for number in (2, 0, 1):
            np.testing.assert_array_equal(spool[number], images[number][:, ::-1])
        assert len(spool) == 3 and not list(tmp_path.iterdir())


def test_batches_of_equal_shapes() -> None:
    shapes = [(4, 4, 3), (9, 9, 3), (4, 4, 3), (4, 4, 3), (9, 9, 3), (4, 9, 3)]
    assert equal_batches(shapes, 2) == [[0, 2], [3], [1, 4], [5]]
    assert equal_batches([(4000, 4000, 3)] * 2, 32) == [[0], [1]]
    images = [np.full((2, 3, 3), n, np.uint8) for n in range(3)]
    assert stack_pixels([images[2], images[0]])[:, 0, 0, 0].tolist() == [2, 0]
