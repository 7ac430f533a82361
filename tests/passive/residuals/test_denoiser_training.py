"""Short trainings of the denoiser."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.cli.main import main
from artfp.core.errors import UserError
from artfp.data.sources import open_source
from artfp.passive.residuals.denoiser import load_denoiser
from artfp.passive.residuals.denoiser_training import (
    DenoiserModule,
    Patches,
    train_denoiser,
)
from artfp.passive.residuals.settings import DenoiserSettings


def settings(folder: Path, output: Path, **changes: object) -> DenoiserSettings:
    plain = {"max_steps": 4, "batch_size": 1, "width": 4}
    return DenoiserSettings.from_mapping(
        {"data_dir": (str(folder),), "output": output, **plain, **changes}
    )


def test_learns(photo_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "denoiser.safetensors"
    card = train_denoiser(settings(photo_folder, output, max_steps=60, lr=1e-2))
    assert load_denoiser(output)[1] == card
    figures = card["measured"][photo_folder.name]
    assert figures["noise 10"]["learned"] > figures["noise 10"]["noisy"] + 0.5
    assert figures["noise 10"]["gaussian"] > figures["noise 10"]["noisy"]


def test_the_seed_decides_the_weights(photo_folder: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in ("first", "again", "other")]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        train_denoiser(settings(photo_folder, path, max_steps=2, seed=seed, limit=4))
    first, again, other = (load_denoiser(path)[0].state_dict() for path in paths)
    for name, values in first.items():
        torch.testing.assert_close(values, again[name])
    assert not torch.allclose(first["layers.2.weight"], other["layers.2.weight"], atol=0.01)


def test_the_loss_is_what_is_left_of_the_noise(photo_crops: Callable[..., Tensor]) -> None:
    module = DenoiserModule(settings(Path("x"), Path("y"))).requires_grad_(False)
    batch = photo_crops(12, 64) / 255.0
    # The last layer is zero at first: no noise is found, all of it is left.
    assert float(module._loss(batch, 0)) == pytest.approx(1.0, abs=0.02)
    assert float(module._loss(batch, 0)) == float(module._loss(batch, 0))
    assert float(module._loss(batch, 0)) != float(module._loss(batch, 1))


def test_patches_of_each_source_in_turns(photo_folder: Path, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for number in range(3):
        pixels = draws.integers(100, 150, (150, 170, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    sources = [open_source(photo_folder), open_source(tmp_path)]
    patches = Patches(sources, settings(photo_folder, tmp_path, max_steps=40, batch_size=2))
    assert len(patches) == 40
    found = [patches[step] for step in range(40)]
    for step, batch in enumerate(found):
        side = batch.shape[3]
        assert batch.shape[1:] == (3, side, side)
        assert 32 <= side <= 96
        assert batch.min() >= 0.0 and batch.max() <= 1.0
        assert len(batch) == 2 * 124**2 // (side + 28) ** 2
        assert torch.equal(patches[step], batch)
    large = found[1::2]
    assert 96 in {batch.shape[3] for batch in large}
    # What was not resized is of whole grey levels.
    kept = [bool(((255 * x) - (255 * x).round()).abs().max() < 1e-3) for x in large]
    assert 4 <= sum(kept) <= 16
    assert all(batch.min() > 0.35 and batch.max() < 0.63 for batch in large)


def test_images_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    patches = Patches([open_source(tmp_path)], settings(tmp_path, tmp_path))
    with pytest.raises(UserError, match="20 images cannot be read"):
        patches[0]


@pytest.mark.parametrize(
    ("option", "value"), [("max_steps", 0), ("lr", 0.0), ("width", 0), ("seed", -1)]
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{option} is"):
        settings(tmp_path, tmp_path / "x.safetensors", **{option: value})


def test_the_command_trains_and_prints(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "own.safetensors"
    words = ["--data_dir", photo_folder, photo_folder, "--output", output, "--limit", 40]
    words += ["--max_steps", 2, "--batch_size", 1, "--width", 4]
    assert main(["denoiser", *map(str, words)]) == 0
    output_text = capsys.readouterr().out
    assert "noise 10" in output_text and "set aside" in output_text
    card = load_denoiser(output)[1]
    assert str(tmp_path) not in card["training"]["command"]
    assert len(set(card["training"]["images"])) == 1 and card["training"]["images"][0] < 40


def test_a_loss_that_is_no_number(photo_crops: Callable[..., Tensor], tmp_path: Path) -> None:
    module = DenoiserModule(settings(tmp_path, tmp_path / "y"))
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="step 0: the loss is nan; take a lower --lr"):
        module.training_step(photo_crops(2, 64) / 255.0, 0)


def test_images_left_out_are_named_and_the_exit_code_is_1(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data := tmp_path / "in").mkdir()
    for number in range(3):
        shutil.copy(photo_folder / f"{number:03}.png", data)
        (data / f"bad{number}.png").write_bytes(b"no image")
    words = ["--data_dir", data, "--output", tmp_path / "x.safetensors", "--max_steps", 8]
    words += ["--batch_size", 1, "--width", 4]
    assert main([str(word) for word in words], command="denoiser") == 1
    told = capsys.readouterr().err.splitlines()
    named = [line for line in told if line.startswith("left out 'bad")]
    assert 1 <= len(named) == len(set(named)) and f"{len(named)} image" in told[-1]
