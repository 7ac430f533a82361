"""A network of fingerprints as an attributor, and its evidence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.data.pixels import to_unit
from artfp.passive.attributors.bundle import load_attributor, save_attributor
from artfp.passive.attributors.visnet import VisNetAttributor
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.visnet import (
    EXAMPLES_PER_SOURCE,
    VisNetEvidence,
    collect_evidence,
    fit_visnet,
)
from artfp.passive.networks.visnet import VisNet
from artfp.passive.settings import VisNetSettings
from artfp.passive.training.labelled import LabelledImages
from artfp.passive.visnet_report import (
    plot_image_fingerprints,
    plot_responses,
    plot_source_fingerprints,
    responses_csv,
)

NAMES, COUNT, SIDE = ("a", "b"), 60, 32


def images(source: int, seed: int, count: int = COUNT) -> np.ndarray:
    """(count, SIDE, SIDE, 3), 8-bit: gray with noise and the source's pattern."""
    noise = 4.0 * np.random.default_rng((seed, source)).standard_normal((count, SIDE, SIDE, 3))
    noise += 10.0 * np.random.default_rng(50 + source).standard_normal((SIDE, SIDE, 3))
    return (128 + noise).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def image_set(image_set_of: Callable[..., ImageSet]) -> ImageSet:
    return image_set_of({name: images(number, 1) for number, name in enumerate(NAMES)})


@pytest.fixture(scope="module")
def seen() -> VisNetEvidence:
    """Of an untrained network."""
    network, pixels = untrained()
    return collect_evidence(network, ("a", "b", "c"), LabelledImages(pixels, torch.arange(18) % 3))


def untrained() -> tuple[VisNet, torch.Tensor]:
    """A network with random fingerprints, and 8-bit images."""
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (18, 3, SIDE, SIDE), dtype=torch.uint8)
    network = VisNet(3, SIDE, 2)
    torch.nn.init.normal_(network.fingerprints, std=0.05)
    return network, pixels


def test_an_attributor_that_can_be_read_again(image_set: ImageSet, tmp_path: Path) -> None:
    settings = VisNetSettings(output_dir=tmp_path, width=2, max_steps=25, batch_size=8, cuda=-1)
    found, seen = fit_visnet(image_set, settings, name="mine")
    training = found.attributor.metadata["training"]
    assert training["images"] + training["held_out"] == 2 * COUNT and training["steps"] == 25
    assert found.validation.accuracy > 0.9 and seen.sources == NAMES
    save_attributor(found.attributor, tmp_path)
    again = load_attributor(tmp_path)
    assert isinstance(again.parts[0], VisNetAttributor)
    for number in range(2):
        x = to_unit(torch.from_numpy(images(number, 2, 20)).permute(0, 3, 1, 2))
        scores = again.scores(x)
        assert torch.equal(scores, found.attributor.scores(x))
        assert float((scores.argmax(1) == number).double().mean()) > 0.9


def test_responses_add_up_to_mean_scores(seen: VisNetEvidence) -> None:
    network, pixels = untrained()
    scores = VisNetAttributor(("a", "b", "c"), network).scores(to_unit(pixels)).double()
    for k in range(3):
        torch.testing.assert_close(seen.scores[k], scores[k::3].mean(0), atol=1e-3, rtol=1e-3)
    assert seen.models.mean(0).abs().max() < 1e-6
    assert seen.examples.shape == seen.fingerprints.shape == (3, EXAMPLES_PER_SOURCE, 3, SIDE, SIDE)


def test_pictures_and_table(seen: VisNetEvidence) -> None:
    for png in (
        plot_source_fingerprints(seen.sources, seen.models),
        plot_image_fingerprints(seen.sources, seen.examples, seen.fingerprints),
        plot_responses(seen.sources, seen.responses),
    ):
        picture = Image.open(io.BytesIO(png))
        assert picture.format == "PNG" and min(picture.size) > 150
    lines = responses_csv(("a", 'b,"', "c"), seen.scores).splitlines()
    assert lines[0] == 'images of,a,"b,""",c' and len(lines) == 4
    assert float(lines[1].split(",")[1]) == pytest.approx(float(seen.scores[0, 0]), abs=1e-4)


def test_another_networks_card_is_refused() -> None:
    part = VisNetAttributor(NAMES, VisNet(2, SIDE, 2))
    with pytest.raises(ValueError, match="size mismatch"):
        VisNetAttributor.load(NAMES, {**part.card(), "width": 3}, part.tensors())
    with pytest.raises(ValueError, match="a network of 2 for 3 sources"):
        VisNetAttributor(("a", "b", "c"), part.network)
