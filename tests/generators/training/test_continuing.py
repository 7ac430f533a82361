"""Trainings that begin with the weights of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.generators import (
    build_model,
)
from artfp.generators.settings import TrainGeneratorSettings
from artfp.generators.training.fit import plan_training
from artfp.generators.training.pretrained import load_pretrained
from artfp.generators.weights import load_generator
from tests.generators.training.trainings import (
    LR,
    checkpoint,
    content,
    differences,
    stop_at,
    train,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def test_continuing_a_generator(
    settings: Callable[..., TrainGeneratorSettings], trained: Path
) -> None:
    file = trained / "generator.safetensors"
    options: dict[str, Any] = {"init": str(file), "changes": {}, "resolution": None, "seed": 9}
    job = settings("held", max_steps=2, freeze_steps=2, **options)
    path = train(job)
    assert path is not None
    generator, card = load_generator(path)
    # Its configuration is the other's, and its weights are until it is updated.
    assert card["config"] == load_generator(file)[1]["config"] and generator.resolution == 16
    assert card["training"]["init"] == {"steps": 8, "generator_sha256": file_hash(file)}
    assert card["training"]["freeze_steps"] == 2 and card["step"] == 2
    pretrained = {f"ema_generator.{name}": value for name, value in load_file(file).items()}
    held = checkpoint(job.output_dir)["state_dict"]
    assert differences(pretrained, held, "ema_generator.") == 0
    own = {
        name.replace("ema_generator", "model.generator"): value
        for name, value in pretrained.items()
    }
    assert differences(own, held, "model.generator.") == 0
    new = build_model("dcgan", 16, seed=9, changes={"width": 8, "latent_dim": 8}).state_dict()
    new = {f"model.{name}": value for name, value in new.items()}
    assert 0 < differences(new, held, "model.discriminator.") < 5 * LR
    # Then it moves, and its average follows as after 8 steps: it keeps (1 + 8) / (10 + 8).
    free = settings("free", max_steps=1, freeze_steps=0, **options)
    train(free)
    state = checkpoint(free.output_dir)["state_dict"]
    assert 0 < differences(own, state, "model.generator.") < 5 * LR
    for name, value in own.items():
        if "running" not in name and value.ndim:
            mean = 0.5 * value + 0.5 * state[name]
            torch.testing.assert_close(
                state[name.replace("model.generator", "ema_generator")], mean
            )


def test_continuing_a_training(
    settings: Callable[..., TrainGeneratorSettings], trained: Path
) -> None:
    pretrained = load_pretrained(trained)
    assert (
        pretrained.freeze_steps == 0
        and load_pretrained(trained / "generator.safetensors").freeze_steps > 0
    )
    job = settings("on", max_steps=1, init=str(trained), changes={}, seed=9)
    path = train(job)
    assert path is not None and load_generator(path)[1]["training"]["init"] == {
        "steps": 8,
        "generator_sha256": file_hash(trained / "generator.safetensors"),
        "checkpoint_sha256": file_hash(trained / "checkpoints" / "last.ckpt"),
    }
    before, after = (checkpoint(folder)["state_dict"] for folder in (trained, job.output_dir))
    for start in ("model.generator.", "model.discriminator.", "ema_generator."):
        assert 0 < differences(before, after, start) < 5 * LR


@pytest.mark.parametrize("stop", [1, 3])
def test_a_continued_training_can_be_resumed(
    stop: int,
    settings: Callable[..., TrainGeneratorSettings],
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it was stopped while the generator waited or after."""

    options = {
        "init": str(trained / "generator.safetensors"),
        "freeze_steps": 2,
        "changes": {},
        "max_steps": 5,
    }
    whole = train(settings("whole", **options))
    with monkeypatch.context() as patched:
        stop_at(patched, stop)
        train(settings("parts", **options))
    assert checkpoint(settings("parts").output_dir)["global_step"] == stop
    for changed, message in (
        ({"freeze_steps": 1}, "'freeze_steps' was 2 and is now 1"),
        ({"init": str(trained)}, "'init' was"),
        (
            {"init": None, "freeze_steps": None, "changes": {"width": 8}},
            "'model' was|'init' was|'config'",
        ),
    ):
        with pytest.raises(UserError, match=message):
            train(settings("parts", resume=True, **{**options, **changed}))
    parts = train(settings("parts", resume=True, **options))
    assert whole is not None and parts is not None
    assert content(whole) == content(parts)


def test_a_grown_generator_stays_grown(settings: Callable[..., TrainGeneratorSettings]) -> None:
    tiny = {"channel_base": 64, "channel_max": 8, "latent_dim": 8, "growth_fraction": 1.0}
    path = train(settings("origin", "progan", changes=tiny))
    assert path is not None
    on = train(settings("on", "progan", changes={}, init=str(path), max_steps=2))
    assert on is not None
    growths = [float(load_file(file)["growth"]) for file in (path, on)]
    # 7 / 8 of the way the last stage is faded in by half; a training that goes on has it whole.
    assert growths == [1.5, 2.0]


def test_what_cannot_be_continued(
    settings: Callable[..., TrainGeneratorSettings], trained: Path, tmp_path: Path
) -> None:
    pretrained = str(trained / "generator.safetensors")
    for name, options, message in (
        ("sngan", {"changes": {}}, "init holds a generator of model dcgan, not sngan"),
        ("dcgan", {"resolution": 32}, "init holds a generator of resolution 16, not 32"),
        ("dcgan", {"freeze_steps": -1}, "freeze_steps is -1; it must be 0 or more"),
        (
            "dcgan",
            {"freeze_steps": 3, "init": None},
            "--freeze_steps is for a training that continues another",
        ),
    ):
        with pytest.raises(UserError, match=message):
            plan_training(settings(name=name, **{"init": pretrained, **options}))
    with pytest.raises(UserError, match="init does not fit the model with these settings"):
        train(settings(init=pretrained, changes={"width": 16}))
    (trained / "checkpoints" / "last.ckpt").write_bytes(b"text")
    with pytest.raises(UserError, match=r"last\.ckpt is not a readable checkpoint"):
        load_pretrained(trained)
    (trained / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"no checkpoint at .*last\.ckpt; to continue with"):
        load_pretrained(trained)
    with pytest.raises(UserError, match="no generator at"):
        load_pretrained(tmp_path / "nothing")
