"""Attributors and calibrations with odd values: one line, never anything else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

import artfp
from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.passive.attributors.bundle import (
    ATTRIBUTOR_FILE,
    FittedAttributor,
    load_attributor,
    save_attributor,
)
from artfp.passive.attributors.nearest_neighbour import NearestNeighbour
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.window import WindowPolicy
from artfp.watermark.calibrate import read_calibration
from artfp.watermark.weights import load_decoder
from tests.mutations import mutated_json

WEIGHTS = Path(artfp.__file__).parent / "weights"


def _refused(call: Callable[[], object]) -> bool:
    """Call; return whether it raised UserError, in one line of a terminal's patience."""
    try:
        call()
    except UserError as error:
        assert len(str(error)) < 700
        return True
    return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small attributor."""
    made = tmp_path_factory.mktemp("attributor")
    pixels = torch.arange(8 * 3 * 64).remainder(251).to(torch.uint8).view(8, 3, 8, 8)
    labels = np.array([0, 1] * 4)
    part = NearestNeighbour(("a", "b"), pixels, torch.from_numpy(labels))
    model = ScoreModel.fit(np.random.default_rng(0).normal(size=(8, 2)), labels)
    policy = WindowPolicy("aligned", (8, 8), (8, 8))
    save_attributor(FittedAttributor("x", [part], model, policy), made)
    return made


def test_attributors(folder: Path, tmp_path: Path) -> None:
    with safe_open(folder / ATTRIBUTOR_FILE, "pt") as file:
        ((key, text),) = file.metadata().items()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path, chance, refused = tmp_path / "odd.safetensors", random.Random(2), 0

    def write(tensors: dict[str, torch.Tensor], card: str) -> Path:
        path.write_bytes(save(tensors, {key: card}))
        return path

    for card in mutated_json(json.loads(text), 1, 150):
        refused += _refused(lambda: load_attributor(write(tensors, card)))  # noqa: B023
    odd = (
        lambda x: x.flatten()[:-1].clone(),
        lambda x: torch.zeros(0),
        lambda x: x[None],
        lambda x: x.double() * float("nan"),
        lambda x: x.double() * -1e300,
    )
    for _ in range(60):
        name = chance.choice(sorted(tensors))
        changed = dict(tensors) | {name: chance.choice(odd)(tensors[name])}
        refused += _refused(lambda: load_attributor(write(changed, text)))  # noqa: B023
    assert refused > 120


def test_calibrations(tmp_path: Path) -> None:
    content = json.loads((WEIGHTS / "cifar32_calibration.json").read_text())
    decoder = WEIGHTS / "cifar32_decoder.safetensors"
    digest, path, refused = file_hash(decoder), tmp_path / "odd.json", 0
    content["keys"] = content["keys"][:2]
    for text in mutated_json(content, 3, 200):
        path.write_text(text)
        refused += _refused(lambda: read_calibration(str(path), decoder, digest, 64))
    assert refused > 120


@pytest.mark.parametrize("value", [[], {"residual": 1}, 10**400, "\ud800"])
def test_cards_of_weights(tmp_path: Path, value: object) -> None:
    with safe_open(WEIGHTS / "cifar32_decoder.safetensors", "pt") as file:
        ((key, text),) = file.metadata().items()
    for field in ("kind", "architecture", "bits", "resolution"):
        (path := tmp_path / "odd.safetensors").write_bytes(
            save({"x": torch.zeros(1)}, {key: json.dumps(json.loads(text) | {field: value})})
        )
        assert _refused(lambda: load_decoder(path))
