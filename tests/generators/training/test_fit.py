"""Whole trainings of generative models, tiny."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from scipy.linalg import sqrtm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.generators import (
    build_model,
)
from artfp.generators.settings import TrainGeneratorSettings
from artfp.generators.training.fit import plan_training
from artfp.generators.weights import load_generator
from artfp.nn.random_inputs import ImageRandomInputs
from tests.generators.training.trainings import checkpoint, content, train

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of images averaged to 4 x 4 pixels, as Gaussians of 48 numbers."""
    a, b = (nn.functional.avg_pool2d(x, x.shape[-1] // 4).flatten(1).double() for x in (a, b))
    mean = (a.mean(0) - b.mean(0)).square().sum().item()
    c, d = np.cov(a.numpy().T), np.cov(b.numpy().T)
    root = sqrtm(c @ d).real
    return mean + float(np.trace(c) + np.trace(d) - 2 * np.trace(root))


@pytest.mark.parametrize(
    ("name", "folder", "steps", "changes"),
    [
        ("dcgan", "", 100, {"width": 16, "ema_decay": 0.9, "lr": 2e-3}),
        (
            "sngan",
            "cold",
            60,
            {"width": 16, "discriminator_width": 16, "ema_decay": 0.9, "lr": 1e-3},
        ),
        (
            "sngan",
            "",
            60,
            {
                "width": 16,
                "discriminator_width": 16,
                "ema_decay": 0.9,
                "lr": 2e-3,
                "betas": (0.0, 0.9),
            }
            | {"residual": True},
        ),
    ],
)
def test_training_lowers_the_distance_to_the_data(
    name: str,
    folder: str,
    steps: int,
    changes: dict[str, Any],
    settings: Callable[..., TrainGeneratorSettings],
    shapes: Path,
) -> None:
    options = {"batch_size": 32, "mirror": False, "changes": changes, "max_steps": steps}
    job = settings(name=name, data_dir=str(shapes / folder), **options)
    path = train(job)
    assert path is not None
    files = sorted(Path(job.data_dirs[0]).rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    data = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255.0
    trained, _ = load_generator(path)
    untrained = build_model(name, 16, seed=4, changes=changes).generator
    before, after = (
        frechet(generator.sample(ImageRandomInputs(0, range(200))), data)
        for generator in (untrained, trained)
    )
    assert after < 0.6 * before


def test_output_files(settings: Callable[..., TrainGeneratorSettings]) -> None:
    job = settings(max_steps=12, sample_every=6, keep_every=5)
    path = train(job)
    output = job.output_dir
    assert path == output / "generator.safetensors"
    generator, card = load_generator(path)
    assert (generator.model, generator.resolution) == ("dcgan", 16)
    training = card["training"]
    assert (
        training["command"].startswith("artfp gan train --model dcgan") and training["images"] == 60
    )
    assert (training["seed"], training["batch_size"], card["step"]) == (4, 8, 12)
    assert training["data"] == [Path(job.data_dirs[0]).name] and len(training["data_sha256"]) == 64
    described = json.loads((output / "card.json").read_text())
    assert described.pop("sha256") == file_hash(path) and described == card
    assert job.data_dirs[0] not in (output / "card.json").read_text()  # it names nobody's folders
    settings_read = yaml.safe_load((output / "config.yaml").read_text())
    assert TrainGeneratorSettings.from_mapping(settings_read) == job
    # What is saved is the average, not the last weights.
    state = checkpoint(output)["state_dict"]
    for name, value in load_file(path).items():
        assert torch.equal(value, state[f"ema_generator.{name}"])
    assert not torch.equal(
        state["ema_generator.layers.0.weight"], state["model.generator.layers.0.weight"]
    )
    kept = sorted((output / "snapshots").iterdir())
    assert [file.name for file in kept] == ["000005.safetensors", "000010.safetensors"]
    assert load_generator(kept[1])[1]["step"] == 10
    sample = np.asarray(Image.open(output / "sample.png"))
    assert sample.shape == (8 * 18 + 2, 8 * 18 + 2, 3)
    generated = generator.sample(ImageRandomInputs(0, [9]))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(sample[20:36, 20:36] / 255.0, generated, atol=0.51 / 255)

    board = EventAccumulator(
        str(output / "tensorboard" / output.name), size_guidance={"images": 0}
    ).Reload()
    scalars = set(board.Tags()["scalars"])
    for network in ("discriminator", "generator"):
        assert {f"{network}/loss", f"{network}/lr"} <= scalars
    assert {"discriminator/real", "discriminator/fake"} <= scalars
    assert {name.partition("/")[0] for name in scalars} == {"discriminator", "generator"}
    assert [event.step for event in board.Images("samples")] == [6, 12]


def test_the_seed_decides(settings: Callable[..., TrainGeneratorSettings]) -> None:
    one, two, other = (
        train(settings(output, max_steps=2, seed=seed))
        for output, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one is not None and two is not None and other is not None
    assert content(one) == content(two) != content(other)


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_half_precision(name: str, settings: Callable[..., TrainGeneratorSettings]) -> None:
    path = train(settings(name=name, max_steps=2, precision="bf16-mixed"))
    assert path is not None
    generator, _ = load_generator(path)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in generator.parameters())


def test_the_callers_random_state_stays(settings: Callable[..., TrainGeneratorSettings]) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(settings(max_steps=2))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "gan"}, "no generative model is called 'gan'"),
        ({"max_steps": 0}, "--max_steps is 0; it must be 1 or more"),
        ({"batch_size": -1}, "--batch_size is -1; it must be 1 or more"),
        ({"keep_every": -1}, "keep_every is -1; it must be 0 or more"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"data_dir_b": "b"}, "dcgan is trained on 1 set of images; 2 given"),
        (
            {"precision": "16-mixed"},
            "precision is 16-mixed; choose from 32-true, bf16-mixed",
        ),
    ],
)
def test_settings_that_cannot_be(
    options: dict[str, Any], message: str, settings: Callable[..., TrainGeneratorSettings]
) -> None:
    with pytest.raises(UserError, match=message):
        plan_training(settings(**options))
