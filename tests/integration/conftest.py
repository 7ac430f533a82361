"""The commands, as processes of their own and inside this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def command() -> Callable[..., list[str]]:
    """The command line of a script at the root of the repository."""

    def words(script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(ROOT / script), *map(str, arguments)]

    return words


@pytest.fixture(scope="session")
def script(command: Callable[..., list[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script to its end."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command(name, *arguments), capture_output=True, text=True, env=environment, timeout=300
        )

    return run


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Runs a command in this process: exit code, lines on stdout, lines on stderr.

    The line with the next step is left out: see test_next_steps.
    """

    def run(name: str, *arguments: object) -> tuple[int, list[str], list[str]]:
        capfd.readouterr()
        code = main([str(each) for each in arguments], command=name)
        said = capfd.readouterr()
        errors = [line for line in said.err.split("\n")[:-1] if not line.startswith("next: ")]
        return code, said.out.split("\n")[:-1], errors

    return run


@pytest.fixture
def patterned(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of forty images of each of two sources, left and right.

    Grey with a pattern of the source, 20 grey levels, and `noise` of so many; `side` px.
    """

    def make(side: int, noise: float) -> Path:
        folder = tmp_path / "dumps"
        for source, name in enumerate(("left", "right")):
            (folder / name).mkdir(parents=True)
            random = np.random.default_rng(source)
            pattern = 20.0 * random.standard_normal((side, side, 3))
            for number in range(40):
                image = 128 + pattern + noise * random.standard_normal((side, side, 3))
                pixels = image.round().clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
        return folder

    return make


@pytest.fixture
def embed_words(weights: Path, photo_folder: Path, tmp_path: Path) -> Callable[..., list[object]]:
    """Arguments of `embed` that work, with the output folder's name and more."""

    def words(output: str, *more: object, data: Path = photo_folder) -> list[object]:
        network = weights / "encoder.safetensors"
        folders = ["--data_dir", data, "--output_dir", tmp_path / output]
        return ["--encoder_path", network, *folders, *more]

    return words


@pytest.fixture
def detect_words(weights: Path, photo_folder: Path, tmp_path: Path) -> Callable[..., list[object]]:
    """Arguments of `detect` that work, with the output folder's name and more."""

    def words(output: str, *more: object, data: Path = photo_folder) -> list[object]:
        network = weights / "decoder.safetensors"
        folders = ["--data_dir", data, "--output_dir", tmp_path / output]
        return ["--decoder_path", network, *folders, *more]

    return words


@pytest.fixture(scope="session")
def many_photos(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs under 1500 names: enough to be stopped in the middle of."""
    folder = tmp_path_factory.mktemp("many")
    photos = sorted(photo_folder.iterdir())
    for number in range(1500):
        os.link(photos[number % len(photos)], folder / f"{number:04}.png")
    return folder


@pytest.fixture(scope="session")
def files() -> Callable[[Path], dict[str, bytes]]:
    """What a run leaves for its user, without the settings that name the run."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
            and path.name != "artfp.log"
            and not path.name.endswith((".run.json", ".key.json"))
            and not (path.name.startswith(".") and path.suffix == ".jsonl")
        }

    return read
