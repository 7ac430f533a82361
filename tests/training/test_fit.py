"""Whole trainings, tiny."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import artfp
from artfp.errors import UserError
from artfp.models import file_hash, load_decoder, load_encoder, read_card
from artfp.perturbations import training_mixture
from artfp.training import fit
from artfp.training.autoencoder import (
    CONDITIONS,
    WARM_UP,
    FingerprintAutoencoder,
    colour_share,
)
from artfp.training.callbacks import ImageGrids, Milestones
from artfp.training.fit import Training, train

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]

CPU = {"accelerator": "cpu", "devices": 1}


@pytest.fixture
def settings(photo_folder: Path, tmp_path: Path) -> Callable[..., Training]:
    """Make the settings of a training of 12 steps at 32 px; options override."""

    def make(output: str = "out", **options: Any) -> Training:
        defaults: dict[str, Any] = {
            "bits": 16,
            "resolution": 32,
            "batch_size": 8,
            "num_workers": 0,
            "max_steps": 12,
            "seed": 4,
            "progress": False,
            "trainer": dict(CPU),
        }
        return Training(str(photo_folder), tmp_path / output, **{**defaults, **options})

    return make


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make the next trainings of whatever length end after so many steps, validating never."""

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= steps

    make = fit._trainer

    def stopping(*args: Any) -> Any:
        trainer, milestones = make(*args)
        trainer.callbacks.append(Stop())  # type: ignore[attr-defined]
        return trainer, milestones

    monkeypatch.setattr(fit, "_trainer", stopping)


@pytest.mark.parametrize("schedule", ["feedback", "published"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    schedule: str, settings: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"schedule": schedule, "lr": 2e-3, "l2_loss_await": 2, "l2_loss_ramp": 5}
    whole = train(settings("whole", **options))
    with monkeypatch.context() as patched:
        stop_at(patched, 6)
        train(settings("parts", **options))
    half = checkpoint(settings("parts").output_dir)
    assert half["global_step"] == 6
    parts = train(settings("parts", resume=True, **options))
    one, two = (checkpoint(settings(name).output_dir) for name in ("whole", "parts"))
    assert one["global_step"] == two["global_step"] == 12
    assert one["state_dict"].keys() == two["state_dict"].keys()
    moved = 0
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name
        moved += not torch.equal(value, half["state_dict"][name])
    assert moved > 20
    for key, states in one["optimizer_states"][0]["state"].items():
        for name, value in states.items():
            assert torch.equal(value, two["optimizer_states"][0]["state"][key][name])
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert whole is not None and parts is not None
    assert whole.measured == parts.measured
    for name in ("encoder", "decoder"):
        files = (getattr(result, name).read_bytes() for result in (whole, parts))
        assert len(set(map(len, files))) == 1


def test_an_interrupted_run_goes_on_where_it_was(
    settings: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Press(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 5:
                raise KeyboardInterrupt

    train(settings("whole"))
    make = fit._trainer

    def interrupted(*args: Any) -> Any:
        trainer, milestones = make(*args)
        trainer.callbacks.append(Press())  # type: ignore[attr-defined]
        return trainer, milestones

    handler = signal.getsignal(signal.SIGINT)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(fit, "_trainer", interrupted)
            with pytest.raises((SystemExit, KeyboardInterrupt)):
                train(settings("parts"))
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    assert checkpoint(settings("parts").output_dir)["global_step"] == 5
    train(settings("parts", resume=True))
    one, two = (checkpoint(settings(name).output_dir) for name in ("whole", "parts"))
    assert two["global_step"] == 12
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name


def test_output_files(settings: Callable[..., Training]) -> None:
    result = train(settings(max_steps=11, validate_every=5), "the command", "bits: 16\n")
    assert result is not None
    output = settings().output_dir
    assert (result.encoder, result.decoder) == (
        output / "encoder.safetensors",
        output / "decoder.safetensors",
    )
    encoder, card = load_encoder(result.encoder)
    decoder, _ = load_decoder(result.decoder, realign=False)
    assert (encoder.bits, decoder.resolution) == (16, 32)
    assert card["training"]["command"] == "the command"
    assert card["training"]["images"] + result.measured["images"] == 120
    assert card["training"]["settings"]["max_steps"] == 11
    assert card["measured"] == result.measured and card["version"] == artfp.__version__
    assert json.loads((output / "card.json").read_text()) == read_card(result.decoder)
    assert str(output) not in (output / "card.json").read_text()  # nobody's folders are told
    assert (output / "config.yaml").read_text() == "bits: 16\n"
    sample = np.asarray(Image.open(output / "sample.png"))
    assert sample.shape[0] == 3 * 34 + 2 and sample.std() > 10
    for name in ("last.ckpt", "best.ckpt"):
        assert (output / "checkpoints" / name).is_file()
    # The bundles hold the best checkpoint.
    best = torch.load(output / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for prefix, network in (("encoder", encoder), ("decoder", decoder)):
        for name, value in network.state_dict().items():
            assert torch.equal(value, best[f"{prefix}.{name}"])

    board = EventAccumulator(str(output / "tensorboard"), size_guidance={"images": 0}).Reload()
    scalars = set(board.Tags()["scalars"])
    expected = {f"train/{n}" for n in ("loss", "bce_loss", "l2_loss", "bit_accuracy", "psnr")}
    expected |= {f"val/{n}" for n in ("bit_accuracy", "psnr", "ssim", "bit_accuracy_jpeg90")}
    expected |= {f"val/bit_accuracy_{name}" for name, _, _ in CONDITIONS}
    expected |= {"schedule/psnr_goal", "train/strength", "train/colour_share", "lr-AdamW"}
    expected |= {
        f"perturbation/{what}_{member.name}"
        for member in training_mixture(32).members
        for what in ("reach", "bit_accuracy")
    }
    assert expected <= scalars
    assert [event.step for event in board.Scalars("val/ssim")] == [4, 9]
    assert {"train/images", "val/images"} <= set(board.Tags()["images"])
    for tag, value in (("val/psnr", 25.0), ("val/ssim", 0.5), ("val/bit_accuracy", 0.6)):
        assert board.Scalars(tag)[-1].value > value


def test_a_second_run_into_the_folder_is_refused(settings: Callable[..., Training]) -> None:
    train(settings(max_steps=1), config="first: 1\n")
    before = {p: p.read_bytes() for p in settings().output_dir.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="already holds a training; add --resume to go on"):
        train(settings(max_steps=1), config="second: 2\n")
    assert before == {p: p.read_bytes() for p in settings().output_dir.rglob("*") if p.is_file()}


def test_resume_without_a_checkpoint_begins(
    settings: Callable[..., Training], caplog: pytest.LogCaptureFixture
) -> None:
    assert train(settings(max_steps=2, resume=True)) is not None
    assert any("no checkpoint at" in r.getMessage() for r in caplog.records)
    assert checkpoint(settings().output_dir)["global_step"] == 2


def test_kick_off(settings: Callable[..., Training]) -> None:
    """0.99 on unperturbed images within 100 steps; there is no plateau at 0.5.

    By then the residual is fainter than it was, and what is read at the end is less.
    """
    result = train(settings(max_steps=100, batch_size=16, target_psnr=32.0))
    assert result is not None and result.reached is not None
    step, seconds = result.reached
    assert 1 <= step <= 100 and seconds > 0
    assert result.measured["bit_accuracy"] > 0.85
    assert 0.3 < result.measured["bit_accuracy_unmarked"] < 0.7


def test_published_recipe_runs(settings: Callable[..., Training]) -> None:
    result = train(settings(architecture="stegastamp", max_steps=3))
    assert result is not None
    encoder, card = load_encoder(result.encoder)
    assert encoder.architecture == "stegastamp"
    assert card["training"]["settings"]["schedule"] == "published"
    state = checkpoint(settings().output_dir)["state_dict"]
    assert "encoder.residual.weight" in state and int(state["schedule.since"]) == -1


def test_settings_by_architecture(settings: Callable[..., Training]) -> None:
    def of(**options: Any) -> tuple[Any, ...]:
        s = Training("x", Path("y"), **options)
        return s.schedule, s.lr, s.batch_size, s.guard, s.steps(50)

    assert of() == ("feedback", 2e-3, 32, True, 4000)
    assert of(architecture="stegastamp") == ("published", 1e-4, 64, False, 20 * 50)
    assert of(schedule="published") == ("published", 1e-4, 64, False, 1000)
    assert of(num_epochs=3)[-1] == 150
    assert of(num_epochs=3, max_steps=7)[-1] == 7
    assert of(architecture="stegastamp", lr=1.0, batch_size=2, guard=True, max_steps=1) == (
        "published",
        1.0,
        2,
        True,
        1,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "stegastamp", "schedule": "feedback"}, "take --schedule published"),
        ({"schedule": "other"}, "unknown schedule 'other'; take feedback or published"),
        ({"architecture": "other"}, "unknown architecture 'other'"),
        ({"bits": 5}, "bits is 5"),
        ({"resolution": 100}, "resolution is 100"),
        ({"trainer": {**CPU, "precision": "7-bit"}}, "Trainer refused its settings"),
    ],
)
def test_settings_that_cannot_work(
    options: dict[str, Any], message: str, settings: Callable[..., Training]
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(settings(**options))
    assert "\n" not in str(caught.value)
    assert not settings().output_dir.exists()


@pytest.mark.parametrize(
    "name", ["lr", "batch_size", "num_epochs", "max_steps", "validate_every", "target_psnr"]
)
def test_numbers_above_zero(name: str, settings: Callable[..., Training]) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(UserError, match=f"{name} is {value}; it must be above 0"):
            settings(**{name: value})


def test_numbers_from_zero(settings: Callable[..., Training]) -> None:
    for name in ("seed", "num_workers", "l2_loss_weight"):
        settings(**{name: 0})
        with pytest.raises(UserError, match=f"{name} is -1; it must be 0 or more"):
            settings(**{name: -1})


def test_broken_images_are_told_before_anything_is_written(
    tmp_path: Path, settings: Callable[..., Training]
) -> None:
    (tmp_path / "bad").mkdir()
    for number in range(4):
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"no image")
    bad = settings(num_workers=2)
    bad.data_dir = str(tmp_path / "bad")
    with pytest.raises(UserError, match="could not be read"):
        train(bad)
    assert not bad.output_dir.exists()


def test_learning_rate_of_feedback() -> None:
    """A line from a tenth to the peak in 20 steps, then half a cosine to a hundredth."""
    module = FingerprintAutoencoder(bits=8, resolution=32, total_steps=200, lr=1e-3)
    options = module.configure_optimizers()
    optimizer, scheduler = options["optimizer"], options["lr_scheduler"]["scheduler"]
    for step in range(201):
        if step <= WARM_UP:
            expected = 1e-3 * (0.1 + 0.9 * step / 20)
        else:
            half = (1 + np.cos(np.pi * (step - 20) / 180)) / 2
            expected = 1e-5 + (1e-3 - 1e-5) * half
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-4), step
        optimizer.step()
        scheduler.step()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert id(module.encoder.log_strength) not in trained  # the schedule sets it
    assert len(trained) == len(list(module.parameters())) - 1


def test_learning_rate_as_published() -> None:
    module = FingerprintAutoencoder("stegastamp", 8, 32, "published", lr=3e-4, perturb=False)
    optimizer = module.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 3e-4 and optimizer.defaults["betas"] == (0.9, 0.999)
    assert module.mixture is None


def milestones_after(values: list[float], milestones: Milestones, step: int = 0) -> Milestones:
    """Let it see accuracies of steps in a row."""
    trainer: Any = SimpleNamespace(callback_metrics={}, global_step=step)
    module: Any = None
    milestones.on_train_start(trainer, module)
    for value in values:
        trainer.global_step += 1
        trainer.callback_metrics = {"train/bit_accuracy_unperturbed": torch.tensor(value)}
        milestones.on_train_batch_end(trainer, module, None, None, 0)
    return milestones


def test_milestones_average_over_a_window() -> None:
    values = [1.0, 0.9, 1.0, 1.0, 0.99, 0.98, 1.0]
    seen = milestones_after(values, Milestones(0.99, window=3))
    assert seen.step == 5 and seen.seconds is not None
    assert milestones_after([1.0, 1.0], Milestones(0.99, window=3)).step is None
    assert milestones_after([0.98] * 9, Milestones(0.99, window=3)).step is None


def test_milestones_survive_a_checkpoint() -> None:
    whole = milestones_after([1.0] * 4, Milestones(0.99, window=3))
    assert whole.step == 3
    later = Milestones(0.99, window=3)
    later.load_state_dict(whole.state_dict())
    milestones_after([1.0] * 4, later, step=4)
    assert (later.step, later.seconds) == (3, whole.seconds)

    half = milestones_after([1.0] * 2, Milestones(0.99, window=3))
    later = Milestones(0.99, window=3)
    later.load_state_dict({**half.state_dict(), "spent": 100.0})
    milestones_after([1.0], later, step=2)
    assert later.step == 3 and later.seconds is not None and later.seconds > 100.0


def test_grids_every_so_often(photo_crops: Callable[..., torch.Tensor]) -> None:
    written: list[tuple[str, int]] = []

    class Board:
        def add_image(self, tag: str, image: torch.Tensor, step: int) -> None:
            assert image.shape[0] == 3 and image.min() >= 0 and image.max() <= 1
            written.append((tag, step))

    trainer: Any = type("T", (), {"is_global_zero": True, "sanity_checking": False})()
    trainer.logger = type("L", (), {"experiment": Board()})()
    module = FingerprintAutoencoder(bits=8, resolution=32).train()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    grids, batch = ImageGrids(every=5), photo_crops(8, 32)
    for step in range(1, 13):
        trainer.global_step = step
        grids.on_train_batch_end(trainer, module, None, batch, step)
    assert written == [("train/images", 1), ("train/images", 6), ("train/images", 11)]
    grids.on_validation_batch_end(trainer, module, None, batch, 0)
    grids.on_validation_batch_end(trainer, module, None, batch, 1)
    assert written[3:] == [("val/images", 12)]
    assert module.encoder.training
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_colour_share() -> None:
    """Gray is 0, what sums to nothing is 1, and mixtures go by energy: by hand, in float64."""
    gray = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    red_against_blue = gray * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    assert float(colour_share(gray)) == pytest.approx(0.0, abs=1e-6)
    assert float(colour_share(red_against_blue)) == pytest.approx(1.0, abs=1e-6)
    both = gray + red_against_blue  # energies 3 and 2 of one plane's
    assert float(colour_share(both)) == pytest.approx(0.4, abs=1e-5)
    assert float(colour_share(both * 0.01)) == pytest.approx(0.4, abs=1e-5)
    rows = np.random.default_rng(0).normal(size=(5, 3, 6, 6))
    parts = rows - rows.mean(axis=1, keepdims=True)
    expected = (parts**2).sum() / (rows**2).sum()
    assert float(colour_share(torch.from_numpy(rows))) == pytest.approx(expected)


def test_colour_share_of_nothing_has_a_gradient() -> None:
    residual = torch.zeros(2, 3, 4, 4, requires_grad=True)
    share = colour_share(residual)
    share.backward()
    assert float(share.detach()) == 0.0
    assert residual.grad is not None and torch.isfinite(residual.grad).all()


def loss_of(module: FingerprintAutoencoder, batch: torch.Tensor) -> float:
    """Loss of one step, without a trainer."""
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module.all_gather = torch.clone  # type: ignore[method-assign, assignment]
    module._trainer = SimpleNamespace(  # type: ignore[assignment]
        global_step=1, global_rank=0, barebones=False
    )
    with torch.no_grad():
        return float(module.training_step(batch, 0))


def test_colour_costs_by_feedback_only(photo_crops: Callable[..., torch.Tensor]) -> None:
    """The loss of `feedback` pays for colour; that of the published recipe does not."""

    def with_weight(weight: float) -> float:
        module = FingerprintAutoencoder(bits=8, resolution=32, perturb=False)
        module.colour_weight = weight
        return loss_of(module, photo_crops(4, 32))

    assert FingerprintAutoencoder(bits=8, resolution=32).colour_weight > 0
    free, dear = with_weight(0.0), with_weight(1.0)
    assert 0 < dear - free <= 1.0  # the share itself
    published = FingerprintAutoencoder("stegastamp", 8, 32, "published")
    assert published.colour_weight == 0.0


def test_transplants_make_residuals_alike(settings: Callable[..., Training]) -> None:
    """With them, more of the residual is common to images of one word than without."""

    def common(name: str, share: float) -> float:
        result = train(settings(name, transplant=share, max_steps=60, batch_size=16, lr=5e-3))
        assert result is not None
        encoder, _ = load_encoder(result.encoder)
        draws = torch.Generator().manual_seed(0)
        x = torch.rand(64, 3, 8, 8, generator=draws)
        x = torch.nn.functional.interpolate(x, (32, 32), mode="bicubic").clamp(0.0, 1.0)
        with torch.no_grad():
            residual = encoder.residual(x, torch.ones(64, 16))
        return float(residual.mean(dim=0).square().sum() / residual.square().sum() * 64)

    assert common("with", 0.6) > common("without", 0.0)
    with pytest.raises(UserError, match=r"transplant is 1\.0; it is a share"):
        settings("bad", transplant=1.0)
    with pytest.raises(UserError, match="no part of the published recipe"):
        settings("bad", transplant=0.3, schedule="published")


def test_init_goes_on_from_trained_weights(settings: Callable[..., Training]) -> None:
    first = train(settings("first"))
    assert first is not None
    second = train(settings("second", init=str(first.encoder), max_steps=1, lr=1e-6))
    assert second is not None
    for name in ("encoder", "decoder"):
        one, two = (load_file(getattr(result, name)) for result in (first, second))
        for key in one.keys() - {"log_strength", "mean_level"}:
            torch.testing.assert_close(one[key], two[key], atol=1e-4, rtol=0.0)
    origin = read_card(second.encoder)["training"]["init"]
    assert origin["encoder"] == file_hash(first.encoder)
    assert origin["training"] == read_card(first.encoder)["training"]
    assert checkpoint(settings("second").output_dir)["state_dict"]["schedule.goal"] == 40.0
    with pytest.raises(
        UserError, match="residual, 16 bits at 32 px; the training is of residual, 8"
    ):
        train(settings("third", init=str(first.encoder), bits=8))
    with pytest.raises(UserError, match="nothing"):
        train(settings("third", init="nothing"))


def test_validation_conditions() -> None:
    """Each once, by a name that tells the perturbation and how strong."""
    names = [name for name, _, _ in CONDITIONS]
    assert len(set(names)) == len(names) and {"jpeg90", "jpeg50", "mirror"} <= set(names)
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, 32, 32), generator=draws, dtype=torch.uint8)
    for name, perturbation, strength in CONDITIONS:
        assert name.startswith(perturbation.name)
        changed = perturbation.true(pixels, strength, draws)
        assert changed.dtype == torch.uint8 and not torch.equal(changed, pixels)
        # Nothing that only a realigning decoder could read: what is validated is the network.
        assert perturbation.transform(torch.tensor([strength]), (32, 32), draws) is None
