"""Whole trainings of generative models, tiny."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from scipy.linalg import sqrtm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from artfp import generators
from artfp.core.errors import UserError
from artfp.core.processes import Terminated
from artfp.data.paths import file_hash
from artfp.generators import (
    DataBatch,
    GenerativeModel,
    Generator,
    ModelConfig,
    TrainedNetwork,
    build_model,
)
from artfp.generators.base import to_signed
from artfp.generators.settings import TrainGeneratorSettings
from artfp.generators.trained_network import TrainingStep
from artfp.generators.training import fit as generator_fit
from artfp.generators.training.fit import plan_training, train_generator
from artfp.generators.training.pretrained import load_pretrained
from artfp.generators.weights import load_generator
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images of 16 px in two folders: a bright square on blue, and on yellow."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shapes")
    for number in range(60):
        warm = number % 2 == 1
        pixels = np.full((16, 16, 3), (200, 180, 20) if warm else (20, 40, 160), np.uint8)
        top, left = rng.integers(2, 7, 2)
        pixels[top : top + 7, left : left + 7] = 250 - rng.integers(0, 30)
        (folder / ("warm" if warm else "cold")).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / ("warm" if warm else "cold") / f"{number:02}.png")
    return folder


def text(value: Any) -> str:
    """A number of a configuration, or several, as `--set` takes them."""
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def train(job: TrainGeneratorSettings) -> Path | None:
    """Train; the generator's file."""
    trained = train_generator(job)
    return None if trained is None else trained.path


def content(path: Path) -> tuple[Any, dict[str, bytes]]:
    """The card of a generator's file but for the command, and its weights."""
    card = load_generator(path)[1]
    del card["training"]["command"]
    return card, {name: value.numpy().tobytes() for name, value in load_file(path).items()}


@pytest.fixture
def settings(shapes: Path, tmp_path: Path) -> Callable[..., TrainGeneratorSettings]:
    """Make the settings of a training of 8 steps at 16 px; options override."""

    def make(
        output: str = "out", name: str = "dcgan", changes: dict[str, Any] | None = None, **more: Any
    ) -> TrainGeneratorSettings:
        if changes is None:
            changes = {} if name.startswith("toy") else {"width": 8}
        defaults: dict[str, Any] = {
            "data_dir": str(shapes),
            "resolution": 16,
            "batch_size": 8,
            "max_steps": 8,
            "seed": 4,
            "accelerator": "cpu",
        }
        texts = tuple(f"{name}={text(value)}" for name, value in changes.items())
        return TrainGeneratorSettings(
            model=name, output_dir=tmp_path / output, changes=texts, **{**defaults, **more}
        )

    return make


def checkpoint(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return found


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if isinstance(one, Tensor) else one == two


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


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    name: str, settings: Callable[..., TrainGeneratorSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "changes": {"width": 8, "discriminator_steps": 2} if name == "sngan" else {"width": 8}
    }

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= 3

    whole = train(settings("whole", name, **options))
    make = generator_fit._make_trainer

    def stopping(*args: Any) -> pl.Trainer:
        trainer = make(*args)
        trainer.callbacks.append(Stop())  # type: ignore[attr-defined]
        return trainer

    with monkeypatch.context() as patched:
        patched.setattr(generator_fit, "_make_trainer", stopping)
        train(settings("parts", name, **options))
    half = checkpoint(settings("parts").output_dir)
    assert half["global_step"] == 3
    parts = train(settings("parts", name, resume=True, **options))
    one, two = (checkpoint(settings(n).output_dir) for n in ("whole", "parts"))
    assert one["global_step"] == two["global_step"] == 8
    for part in ("state_dict", "optimizer_states"):
        assert equal(one[part], two[part]) and not equal(one[part], half[part])
    assert whole is not None and parts is not None
    assert content(whole) == content(parts)


@pytest.mark.parametrize(
    ("stop", "number", "minutes"),
    [
        (KeyboardInterrupt, signal.SIGINT, 10.0),
        (Terminated, signal.SIGTERM, 10.0),
        (MemoryError, None, 1e-9),
    ],
)
def test_a_run_that_was_stopped_goes_on_where_it_was(
    stop: type[BaseException],
    number: signal.Signals | None,
    minutes: float,
    settings: Callable[..., TrainGeneratorSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By somebody, or by a fault after a checkpoint that the clock made."""

    class Press(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step != 5:
                return
            if number is None:
                raise stop
            os.kill(os.getpid(), number)  # between the updates of two networks

    whole = train(settings("whole"))
    make = generator_fit._make_trainer

    def interrupted(*args: Any) -> pl.Trainer:
        trainer = make(*args)
        trainer.callbacks.append(Press())  # type: ignore[attr-defined]
        return trainer

    with monkeypatch.context() as patched:
        patched.setattr(generator_fit, "_make_trainer", interrupted)
        with pytest.raises(stop):
            train(settings("parts", checkpoint_minutes=minutes))
    reached = checkpoint(settings("parts").output_dir)["global_step"]
    assert reached == (5 if number is None else 6)
    with pytest.raises(UserError, match=r"holds a run of 'gan' .*: 'seed' was 4 and is now 5"):
        train(settings("parts", resume=True, seed=5))
    parts = train(settings("parts", resume=True))
    assert whole is not None and parts is not None
    assert content(whole) == content(parts)


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


def test_a_second_run_into_the_folder(settings: Callable[..., TrainGeneratorSettings]) -> None:
    train(settings(max_steps=1))
    with pytest.raises(UserError, match="already holds a training; add --resume to go on"):
        train(settings(max_steps=1))
    longer = train(settings(max_steps=3, resume=True))
    assert longer is not None and load_generator(longer)[1]["step"] == 3


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


class ToyConditional(Generator):
    """A colour for each class."""

    def __init__(self, resolution: int, config: ModelConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.colours = nn.Parameter(torch.zeros(classes, 3))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        assert labels is not None
        side = self.resolution
        return self.colours[labels][:, :, None, None].expand(-1, 3, side, side)


class ToyLabelled(GenerativeModel):
    """One network, which follows the mean of each class."""

    name, reference, departures, labelled = "toy-labelled", "arXiv", "none", True
    resolutions = (16,)
    small = paper = ModelConfig()
    generator_type = ToyConditional
    generator: ToyConditional

    def trained_networks(self) -> list[TrainedNetwork]:
        return [
            TrainedNetwork("generator", (self.generator,), self._follow, 0.05, betas=(0.5, 0.9))
        ]

    def _follow(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        assert batch.labels is not None
        miss = self.generator.colours[batch.labels] - to_signed(batch.x).mean(dim=(2, 3))
        return miss.square().sum(), {}


class ToyShift(Generator):
    """What is added to the colours of one domain for the other."""

    targets = (1, 0)

    def __init__(self, resolution: int, config: ModelConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.shift = nn.Parameter(torch.zeros(3))

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return y + (2 * target - 1) * self.shift[:, None, None]


class ToyTranslator(GenerativeModel):
    """One network, which follows the difference of the domains' means."""

    name, reference, departures, translates, domains = "toy-translator", "arXiv", "none", True, 2
    resolutions = (16,)
    small = paper = ModelConfig()
    generator_type = ToyShift
    generator: ToyShift

    def trained_networks(self) -> list[TrainedNetwork]:
        return [
            TrainedNetwork("generator", (self.generator,), self._follow, 0.05, betas=(0.5, 0.9))
        ]

    def _follow(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        one, two = (to_signed(x).mean(dim=(0, 2, 3)) for x in batch.images)
        return (self.generator.shift - (two - one)).square().sum(), {}


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


@pytest.fixture
def trained(settings: Callable[..., TrainGeneratorSettings]) -> Path:
    """The folder of a training of 8 steps, with an averaged generator."""
    job = settings("origin", changes={"width": 8, "latent_dim": 8, "ema_decay": 0.9})
    assert train(job) is not None
    return job.output_dir


def differences(one: dict[str, Tensor], two: dict[str, Tensor], start: str) -> float:
    """Largest difference of the weights, not the statistics, whose name starts so."""
    names = [n for n in one if n.startswith(start) and "running" not in n and one[n].ndim]
    assert names
    return max(float((one[name] - two[name]).abs().max()) for name in names)


LR = 2e-4
"""Adam moves no weight by much more in its first step."""


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

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= stop

    options = {
        "init": str(trained / "generator.safetensors"),
        "freeze_steps": 2,
        "changes": {},
        "max_steps": 5,
    }
    whole = train(settings("whole", **options))
    make = generator_fit._make_trainer

    def stopping(*args: Any) -> pl.Trainer:
        trainer = make(*args)
        trainer.callbacks.append(Stop())  # type: ignore[attr-defined]
        return trainer

    with monkeypatch.context() as patched:
        patched.setattr(generator_fit, "_make_trainer", stopping)
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


def test_the_time_is_that_of_one_run(settings: Callable[..., TrainGeneratorSettings]) -> None:
    """Of runs of a second, each goes on; the last comes to its end."""
    reached = [0]
    for resume in (False, True):
        options: dict[str, Any] = {"max_steps": 10**6, "max_time": "00:00:00:01", "resume": resume}
        trained = train_generator(settings(**options))
        assert trained is not None
        reached.append(trained.card["step"])
        stopped = f"by max_time at step {reached[-1]:,} of 1,000,000"
        assert trained.card["training"]["stopped"] == stopped
    assert reached == sorted(set(reached))
    options |= {"max_steps": reached[-1] + 2, "resume": True}
    trained = train_generator(settings(**options))
    assert trained is not None and "stopped" not in trained.card["training"]
    assert trained.card["step"] == reached[-1] + 2


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_damaged_checkpoints_are_refused_in_one_line(
    settings: Callable[..., TrainGeneratorSettings],
) -> None:
    train(settings(max_steps=1))
    last = settings().output_dir / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    state = torch.load(last, weights_only=True)
    for content in (b"", b"text", whole[:1000], whole[:-1000]):
        last.write_bytes(content)
        with pytest.raises(UserError, match=r"last\.ckpt is not a readable checkpoint"):
            train(settings(resume=True))
    damaged: list[dict[str, Any]] = [
        {key: value for key, value in state.items() if key != missing}
        for missing in ("loops", "optimizer_states", "pytorch-lightning_version")
    ]
    for key in ("loops", "callbacks", "optimizer_states", "lr_schedulers", "epoch"):
        damaged += [{**state, key: value} for value in ({"fit_loop": 3}, [1], "x")]
    for each in damaged:
        torch.save(each, last)
        try:
            train(settings(resume=True, max_steps=2))
        except UserError as error:
            assert str(error).startswith(str(last)) and "delete it" in str(error)
