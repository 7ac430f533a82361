"""Settings of a training: what they come to, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artfp.core.errors import UserError
from artfp.watermark.training.fit import train
from artfp.watermark.training.settings import TrainSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def test_settings_by_architecture(settings: Callable[..., TrainSettings]) -> None:
    def of(**options: Any) -> tuple[Any, ...]:
        s = TrainSettings(data_dir="x", output_dir=Path("y"), **options)
        r = s.recipe
        return r.schedule, r.lr, r.batch_size, r.stall_recovery, s.total_steps(50)

    assert of() == ("feedback", 2e-3, 32, True, 4000)
    assert of(architecture="stegastamp") == ("published", 1e-4, 64, False, 20 * 50)
    assert of(schedule="published") == ("published", 1e-4, 64, False, 1000)
    assert of(num_epochs=3)[-1] == 150
    assert of(num_epochs=3, max_steps=7)[-1] == 7
    assert of(
        architecture="stegastamp", lr=1.0, batch_size=2, stall_recovery=True, max_steps=1
    ) == (
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
        ({"schedule": "other"}, "--schedule is 'other'; choose from feedback, published"),
        ({"architecture": "other"}, "unknown architecture 'other'"),
        ({"bits": 5}, "bits is 5; these networks take 8 to 256"),
        ({"resolution": 100}, "resolution is 100"),
        ({"precision": "7-bit"}, "Trainer refused its settings"),
    ],
)
def test_settings_that_cannot_work(
    options: dict[str, Any], message: str, settings: Callable[..., TrainSettings]
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(settings(**options))
    assert "\n" not in str(caught.value)
    assert not settings().output_dir.exists()


@pytest.mark.parametrize(
    "name", ["lr", "batch_size", "num_epochs", "max_steps", "validate_every", "target_psnr"]
)
def test_numbers_above_zero(name: str, settings: Callable[..., TrainSettings]) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(
            UserError, match=rf"--{name} is {value}(\.0)?; it must be (above 0|1 or more)"
        ):
            settings(**{name: value})


def test_numbers_from_zero(settings: Callable[..., TrainSettings]) -> None:
    for name in ("seed", "num_workers", "l2_loss_weight"):
        settings(**{name: 0})
        with pytest.raises(UserError, match=f"--{name} is -1(.0)?; it must be 0 or more"):
            settings(**{name: -1})


def test_broken_images_are_told_before_anything_is_written(
    tmp_path: Path, settings: Callable[..., TrainSettings]
) -> None:
    (tmp_path / "bad").mkdir()
    for number in range(4):
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"no image")
    bad = replace(settings(num_workers=2), data_dir=str(tmp_path / "bad"))
    with pytest.raises(UserError, match="could not be read"):
        train(bad)
    assert not bad.output_dir.exists()


def test_a_latent_autoencoder_is_no_part_of_the_published_recipe(
    settings: Callable[..., TrainSettings], autoencoder_folder: Path
) -> None:
    for options in ({"schedule": "published"}, {"architecture": "stegastamp"}):
        with pytest.raises(UserError, match="--latent_autoencoder is no part of the published"):
            settings(latent_autoencoder=autoencoder_folder, **options)
    with pytest.raises(UserError, match=r"is no folder with encoder\.pth"):
        settings(latent_autoencoder="nowhere").check_inputs()
