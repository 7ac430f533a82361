"""A network of fingerprints as an attributor, and its evidence."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.data.sources import open_source
from artfp.passive.attributors.bundle import FittedAttributor, load_attributor, save_attributor
from artfp.passive.attributors.nearest_neighbour import NearestNeighbour
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.visnet import VisNetAttributor
from artfp.passive.attributors.window import WindowPolicy
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.visnet import (
    EXAMPLES_PER_SOURCE,
    VisNetEvidence,
    collect_evidence,
    fit_visnet,
)
from artfp.passive.networks.visnet import VisNet
from artfp.passive.predict import predict_sources
from artfp.passive.settings import PredictSourcesSettings, VisNetSettings
from artfp.passive.training.labelled import LabelledImages
from artfp.passive.visnet_report import (
    ImageEvidence,
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


def test_evidence_for_new_images(tmp_path: Path) -> None:
    network, pixels = untrained()
    part = VisNetAttributor(("a", "b$^", "c"), network)
    model = ScoreModel.fit(np.random.default_rng(0).normal(size=(9, 3)), np.arange(9) % 3)
    policy = WindowPolicy("aligned", (SIDE, SIDE), (SIDE, SIDE))
    save_attributor(FittedAttributor("mine", [part], model, policy), tmp_path)
    shown = {"x.1.png": pixels[0], "x.1.bmp": pixels[1], "sub/wide.png": pixels[2]}
    for name, each in shown.items():
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        wide = nn.functional.pad(each, (0, 9))  # the window is cut first
        Image.fromarray(wide.permute(1, 2, 0).numpy()).save(tmp_path / "new" / name)
    settings = PredictSourcesSettings(
        data_dir=str(tmp_path / "new"), attributor=tmp_path, pictures=tmp_path / "shown", cuda=-1
    )
    found = predict_sources(settings)
    rows = list(csv.DictReader((tmp_path / "shown" / "pictures.csv").open()))
    assert {row["image"] for row in rows} == set(shown)
    files = {path.relative_to(tmp_path / "shown").as_posix() for path in
             (tmp_path / "shown").rglob("*.*")}  # fmt: skip
    assert files == set(found.pictures) and {row["picture"] for row in rows} < files
    for row in rows:
        # The definition: the sum over pixels and colours of both fingerprints' product.
        own = network.fingerprint(to_unit(shown[row["image"]][None]))[0].double()
        logits = (own * network.fingerprints.double()).sum((1, 2, 3))
        scores = [float(row[name]) for name in part.sources]
        assert scores == pytest.approx((logits - logits.mean()).tolist(), abs=1e-3)
        assert row["highest"] == part.sources[int(logits.argmax())]
        assert Image.open(tmp_path / "shown" / row["picture"]).format == "PNG"
    # Other images into the same folder: of the first ones nothing stays; what is not listed does.
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "new" / "later.png")
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "shown" / "images" / "mine.png")
    outside = tmp_path / "shown" / "kept.png"
    Image.new("RGB", (SIDE, SIDE)).save(outside)
    with (tmp_path / "shown" / "pictures.csv").open("a") as file:
        file.write("x,images/../kept.png,a,0,0,0\n")
    later = predict_sources(replace(settings, data_dir=str(tmp_path / "new" / "later.png")))
    shown_now = {path.name for path in (tmp_path / "shown" / "images").rglob("*.png")}
    assert shown_now == {"later.png", "mine.png"} and outside.is_file()
    assert "images/later.png" in later.pictures


def test_only_a_visnet_has_evidence(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    part = NearestNeighbour(NAMES, pixels, torch.arange(8) % 2)
    model = ScoreModel.fit(np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2)
    policy = WindowPolicy("aligned", (16, 16), (16, 16))
    about = {"method": "nearest"}
    attributor = FittedAttributor("mine", [part], model, policy, metadata=about)
    save_attributor(attributor, tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png")
    settings = PredictSourcesSettings(
        data_dir=str(tmp_path / "x.png"), attributor=tmp_path, pictures=tmp_path / "p", cuda=-1
    )
    with pytest.raises(UserError, match=r"--pictures: .* is nearest; .* artfp attribute visnet"):
        predict_sources(settings)
    visnet = VisNetAttributor(NAMES, VisNet(2, 16, 2))
    attributor = FittedAttributor("mine", [visnet], model, policy)
    with pytest.raises(UserError, match="lies in the folder of the images"):
        ImageEvidence(attributor, open_source(tmp_path), tmp_path / "p")


def test_another_networks_card_is_refused() -> None:
    part = VisNetAttributor(NAMES, VisNet(2, SIDE, 2))
    with pytest.raises(ValueError, match="size mismatch"):
        VisNetAttributor.load(NAMES, {**part.card(), "width": 3}, part.tensors())
    with pytest.raises(ValueError, match="Missing key"):
        VisNetAttributor.load(NAMES, {**part.card(), "size": "published"}, part.tensors())
    old = {key: value for key, value in part.card().items() if key not in ("size", "weights")}
    assert VisNetAttributor.load(NAMES, old, part.tensors()).network.size == "compact"
    with pytest.raises(ValueError, match="a network of 2 for 3 sources"):
        VisNetAttributor(("a", "b", "c"), part.network)
