"""Trainings of models of each kind: of classes, between domains, of a single network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from artfp import generators
from artfp.core.errors import UserError
from artfp.generators.settings import TrainGeneratorSettings
from artfp.generators.training.fit import plan_training
from artfp.generators.weights import load_generator
from artfp.nn.random_inputs import ImageRandomInputs
from tests.generators.training.toys import ToyLabelled, ToyTranslator
from tests.generators.training.trainings import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def test_class_conditional_models(
    settings: Callable[..., TrainGeneratorSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(generators.generative_models(), "toy-labelled", ToyLabelled)
    path = train(settings(name="toy-labelled", max_steps=100))
    assert path is not None
    generator, card = load_generator(path)
    assert card["class_names"] == ["cold", "warm"] and generator.classes == 2
    x = generator.sample(ImageRandomInputs(0, range(2)), torch.tensor([0, 1]))
    assert x[0, 2].mean() > x[0, 0].mean() and x[1, 0].mean() > x[1, 2].mean()


def test_translators_between_two_domains(
    settings: Callable[..., TrainGeneratorSettings], monkeypatch: pytest.MonkeyPatch, shapes: Path
) -> None:
    monkeypatch.setitem(generators.generative_models(), "toy-translator", ToyTranslator)
    with pytest.raises(UserError, match="toy-translator is trained on 2 sets of images; 1 given"):
        plan_training(settings(name="toy-translator"))
    folders = [str(shapes / "cold"), str(shapes / "warm")]
    job = settings(
        name="toy-translator",
        data_dir=folders[0],
        data_dir_b=folders[1],
        max_steps=100,
        sample_every=50,
    )
    path = train(job)
    assert path is not None
    generator, card = load_generator(path)
    assert card["training"]["data"] == ["cold", "warm"] and card["training"]["images"] == 60
    cold = torch.tensor([20, 40, 160])[None, :, None, None].expand(1, 3, 16, 16) / 255.0
    warm = generator.translate(cold, 1)
    assert warm[0, 0].mean() > warm[0, 2].mean()
    sample = np.asarray(Image.open(job.output_dir / "sample.png"))
    assert sample.shape == (4 * 18 + 2, 8 * 18 + 2, 3)


def test_a_lone_player_does_not_wait(
    settings: Callable[..., TrainGeneratorSettings], monkeypatch: pytest.MonkeyPatch, shapes: Path
) -> None:
    monkeypatch.setitem(generators.generative_models(), "toy-labelled", ToyLabelled)
    path = train(settings(name="toy-labelled", max_steps=2))
    assert path is not None
    pretrained = str(path)
    on = train(settings("on", "toy-labelled", init=pretrained, max_steps=1))
    assert on is not None
    before, after = (load_file(file)["colours"] for file in (path, on))
    assert not torch.equal(before, after)
    # Data of another number of classes.
    (shapes / "third").mkdir()
    Image.new("RGB", (16, 16)).save(shapes / "third" / "1.png")
    try:
        with pytest.raises(UserError, match="init does not fit the model with these settings"):
            train(settings("other", "toy-labelled", init=pretrained, max_steps=1))
    finally:
        (shapes / "third" / "1.png").unlink()
        (shapes / "third").rmdir()
