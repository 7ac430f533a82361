from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from artfp.core.errors import UserError
from artfp.data.bundle import CARD, build_to_fit, read_card, read_state, write_bundle


def written(path: Path, card: str) -> Path:
    save_file({"x": torch.zeros(1)}, path, {"artfp": card})
    return path


@pytest.mark.parametrize(
    "card",
    [
        "[" * 100_000,
        '{"a": ' * 100_000,
        '{"a":' * 40 + "1" + "}" * 40,
        "[1]",
        "1e999",
        "{",
        "9" * 5000,
    ],
)
def test_cards_that_are_none(tmp_path: Path, card: str) -> None:
    with pytest.raises(UserError, match="has no artfp card"):
        read_card(written(tmp_path / "x.safetensors", card))


def test_long_cards_are_not_parsed(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", json.dumps({"a": "x" * (17 << 20)}))
    with pytest.raises(UserError, match="has no artfp card"):
        read_card(path)


def test_numbers_that_are_not_finite_are_none(tmp_path: Path) -> None:
    text = '{"a": Infinity, "b": NaN, "c": -1e999, "d": 1.5, "e": 2}'
    card = read_card(written(tmp_path / "x.safetensors", text))
    assert card == {"a": None, "b": None, "c": None, "d": 1.5, "e": 2}


class Tables(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("table", torch.linspace(0, 1, size), persistent=False)


def test_networks_are_compared_with_the_file_before_they_are_allocated() -> None:
    state = nn.Linear(2, 3).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        build_to_fit(lambda: nn.Linear(2, 10**11), state)
    deep = nn.Sequential(nn.Linear(1, 1)).state_dict()
    with pytest.raises(ValueError, match="far more weights than the 2 of the file"):
        build_to_fit(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**9))), deep)
    with pytest.raises(ValueError, match="computes far more values"):
        build_to_fit(lambda: Tables(10**11), Tables(2).state_dict())
    nn.Sequential(*(nn.Linear(1, 1) for _ in range(800)))  # others are not counted


def test_a_network_that_fits_has_its_weights_and_says_nothing() -> None:
    network = Tables(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = build_to_fit(lambda: Tables(5), network.state_dict())
    assert torch.equal(built.layer.weight, network.layer.weight)
    assert torch.equal(built.get_buffer("table"), torch.linspace(0, 1, 5))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers(value: float, tmp_path: Path) -> None:
    path, network = tmp_path / "weights.safetensors", nn.Linear(2, 1)
    write_bundle(network, path, {"kind": "line"})
    before = path.read_bytes()
    assert read_state(path).keys() == {"weight", "bias"}
    with torch.no_grad():
        network.weight[0, 1] = value
    with pytest.raises(UserError, match="weight holds values that are no finite numbers"):
        write_bundle(network, path, {"kind": "line"})
    assert path.read_bytes() == before
    save_file(network.state_dict(), path, {CARD: json.dumps({"kind": "line"})})
    with pytest.raises(UserError, match="as a training that diverged leaves them"):
        read_state(path)
