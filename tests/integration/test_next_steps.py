"""Commands end with the next step, in one line on stderr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artfp.cli.main import main

Words = Callable[..., list[object]]


def next_step(capfd: pytest.CaptureFixture[str], command: str, *words: object) -> str:
    """Return the next step that a command names, or ""."""
    capfd.readouterr()
    main([str(each) for each in words], command=command)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("next: ")]
    assert len(lines) <= 1
    return lines[0].removeprefix("next: ") if lines else ""


def test_embed(
    capfd: pytest.CaptureFixture[str], embed_words: Words, tmp_path: Path, photo_folder: Path
) -> None:
    one = {"data": photo_folder / "000.png"}
    words = embed_words("a", "--identical_fingerprints", "--num_workers", 0, **one)
    step = next_step(capfd, "embed", *words)
    assert step.startswith(f"train your generator on {tmp_path}/a/fingerprinted_images, then artfp")
    assert step.endswith(f"--key {tmp_path}/a/fingerprint.key.json")
    assert next_step(capfd, "embed", *words, "--quiet") == ""
    assert next_step(capfd, "embed", *embed_words("b", "--num_workers", 0, **one)) == ""
    words = embed_words("c", "--fingerprint", "c35a", "--num_workers", 0, **one)
    step = next_step(capfd, "embed", *words)
    assert "c35a" not in step and step.endswith("--fingerprint_file FILE")


def test_train(capfd: pytest.CaptureFixture[str], photo_folder: Path, tmp_path: Path) -> None:
    words = ["--data_dir", photo_folder, "--output_dir", tmp_path / "run", "--cuda", -1]
    words += ["--fingerprint_size", 8, "--image_resolution", 32, "--num_workers", 0]
    step = next_step(capfd, "train", *words, "--max_steps", 1, "--batch_size", 4)
    assert step == (
        f"artfp embed --encoder_path {tmp_path}/run/encoder.safetensors --data_dir IMAGES "
        "--output_dir OUT --identical_fingerprints"
    )


def test_demo_runs_twice(capfd: pytest.CaptureFixture[str], weights: Path, tmp_path: Path) -> None:
    words = ["--output_dir", tmp_path / "demo", "--weights", weights / "encoder.safetensors"]
    for _ in range(2):
        assert next_step(capfd, "demo", *words).startswith("your own images: artfp embed ")


def test_calibrate(
    capfd: pytest.CaptureFixture[str], weights: Path, photo_folder: Path, tmp_path: Path
) -> None:
    words = [photo_folder, "--decoder_path", weights / "decoder.safetensors", "--max_images", 8]
    words += ["--output", tmp_path / "c.json", "--keys", 3, "--num_workers", 0, "--cuda", -1]
    step = next_step(capfd, "calibrate", *words)
    assert step.startswith("artfp detect --data_dir IMAGES ") and f"{tmp_path}/c.json" in step


def test_gan_train(capfd: pytest.CaptureFixture[str], photo_folder: Path, tmp_path: Path) -> None:
    words = ["train", "dcgan", "--data_dir", photo_folder, "--output_dir", tmp_path, "--cuda", -1]
    words += ["--resolution", 16, "--set", "width=4", "--max_steps", 1, "--batch_size", 4]
    step = next_step(capfd, "gan", *words)
    assert step.startswith(f"artfp gan generate {tmp_path}/generator.safetensors --count ")
