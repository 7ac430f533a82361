"""Whole trainings, tiny."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import read_card
from artfp.data.paths import file_hash
from artfp.perturbations import training_mixture
from artfp.watermark import load_decoder, load_encoder
from artfp.watermark.training.fit import train
from artfp.watermark.training.module import VALIDATION_CONDITIONS
from artfp.watermark.training.settings import TrainSettings
from tests.watermark.training.conftest import checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def test_output_files(settings: Callable[..., TrainSettings]) -> None:
    result = train(made := settings(max_steps=11, validate_every=5))
    assert result is not None
    output = settings().output_dir
    assert (result.encoder, result.decoder) == (
        output / "encoder.safetensors",
        output / "decoder.safetensors",
    )
    encoder, card = load_encoder(result.encoder)
    decoder, _ = load_decoder(result.decoder, realign=False)
    assert (encoder.bits, decoder.resolution) == (16, 32)
    assert card["training"]["command"].startswith(
        "artfp train --data_dir photos0 --fingerprint_size 16"
    )
    assert card["training"]["images"] + result.measured["images"] == 120
    assert card["training"]["settings"]["max_steps"] == 11
    assert card["measured"] == result.measured and card["version"] == artfp.__version__
    assert json.loads((output / "card.json").read_text()) == read_card(result.decoder)
    assert str(output) not in (output / "card.json").read_text()  # nobody's folders are told
    assert (output / "config.yaml").read_text() == made.to_yaml()
    sample = np.asarray(Image.open(output / "sample.png"))
    assert sample.shape[0] == 3 * 98 + 2 and sample.std() > 10
    for name in ("last.ckpt", "best.ckpt"):
        assert (output / "checkpoints" / name).is_file()
    # The bundles hold the best checkpoint.
    best = torch.load(output / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for prefix, network in (("encoder", encoder), ("decoder", decoder)):
        for name, value in network.state_dict().items():
            assert torch.equal(value, best[f"{prefix}.{name}"])

    board = EventAccumulator(
        str(output / "tensorboard" / output.name), size_guidance={"images": 0}
    ).Reload()
    scalars = set(board.Tags()["scalars"])
    expected = {f"train/{n}" for n in ("loss", "bce_loss", "l2_loss", "bit_accuracy", "psnr")}
    expected |= {f"val/{n}" for n in ("bit_accuracy", "psnr", "ssim", "bit_accuracy_jpeg90")}
    expected |= {f"val/scielab_{n}" for n in ("p95_60", "p95_20", "p95_60_worst", "over2_20")}
    expected |= {f"val/bit_accuracy_{name}" for name, _, _ in VALIDATION_CONDITIONS}
    expected |= {"schedule/psnr_goal", "train/strength", "train/colour_fraction", "train/lr"}
    expected |= {
        f"perturbation/{what}_{member.name}"
        for member in training_mixture(32).members
        for what in ("reach", "bit_accuracy")
    }
    assert expected <= scalars
    assert {name.partition("/")[0] for name in scalars} == {
        "train", "val", "schedule", "perturbation"
    }  # fmt: skip
    assert [event.step for event in board.Scalars("val/ssim")] == [4, 9]
    assert {"train/images", "val/images"} <= set(board.Tags()["images"])
    for scale in (60, 20):
        mean, worst = (board.Scalars(f"val/scielab_p95_{scale}{end}") for end in ("", "_worst"))
        assert all(0 < a.value < b.value for a, b in zip(mean, worst, strict=True))
    for tag, value in (("val/psnr", 25.0), ("val/ssim", 0.5), ("val/bit_accuracy", 0.6)):
        assert board.Scalars(tag)[-1].value > value


def test_kick_off(settings: Callable[..., TrainSettings]) -> None:
    """0.99 on unperturbed images within 100 steps; there is no plateau at 0.5.

    By then the residual is fainter than it was, and what is read at the end is less.
    """
    result = train(settings(max_steps=100, batch_size=16, target_psnr=32.0))
    assert result is not None and result.reached is not None
    step, seconds = result.reached
    assert 1 <= step <= 100 and seconds > 0
    assert result.measured["bit_accuracy"] > 0.85
    assert 0.3 < result.measured["bit_accuracy_unmarked"] < 0.7


def test_published_recipe_runs(settings: Callable[..., TrainSettings]) -> None:
    result = train(settings(architecture="stegastamp", max_steps=3))
    assert result is not None
    encoder, card = load_encoder(result.encoder)
    assert encoder.architecture == "stegastamp"
    assert card["training"]["settings"]["schedule"] == "published"
    state = checkpoint(settings().output_dir)["state_dict"]
    assert "encoder.residual.weight" in state and int(state["schedule.since"]) == -1


def test_transplants_make_residuals_alike(settings: Callable[..., TrainSettings]) -> None:
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
    with pytest.raises(UserError, match=r"--transplant is 1\.0; it must be"):
        settings("bad", transplant=1.0)
    with pytest.raises(UserError, match="no part of the published recipe"):
        settings("bad", transplant=0.3, schedule="published")


def test_init_goes_on_from_trained_weights(settings: Callable[..., TrainSettings]) -> None:
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


@pytest.mark.parametrize("architecture", ["residual", "stegastamp"])
def test_a_training_that_diverges(
    architecture: str, settings: Callable[..., TrainSettings]
) -> None:
    job = settings(architecture=architecture, lr=1e30, validate_every=2)
    with pytest.raises(UserError, match=r"step \d+: the loss is (nan|inf); take a lower --lr"):
        train(job)
    assert not list(job.output_dir.glob("*.safetensors"))
