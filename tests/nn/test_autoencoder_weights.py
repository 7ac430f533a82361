"""Loading latent autoencoders: what is read, and what is refused without executing it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.nn import load_latent_autoencoder
from artfp.nn.autoencoder_weights import autoencoder_hashes


@pytest.fixture
def folder(autoencoder_folder: Path, tmp_path: Path) -> Path:
    """A copy of the autoencoder's folder, to be spoiled."""
    return Path(shutil.copytree(autoencoder_folder, tmp_path / "mine"))


def change(file: Path, **weights: object) -> None:
    state = torch.load(file, weights_only=True)
    given = {name.replace("_", "."): weight for name, weight in weights.items()}
    torch.save({k: v for k, v in {**state, **given}.items() if v is not None}, file)


def test_weights_are_those_of_the_files(folder: Path) -> None:
    state = torch.get_rng_state()
    network = load_latent_autoencoder(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.channels == 4 and not network.training
    for part in ("encoder", "decoder"):
        saved: dict[str, Tensor] = torch.load(folder / f"{part}.pth", weights_only=True)
        own = dict(network.get_submodule(part).state_dict())
        assert own.keys() == saved.keys()
        for name, weight in own.items():
            assert weight.dtype == torch.float32 and torch.equal(weight, saved[name].float())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_hashes_name_the_files(folder: Path) -> None:
    assert autoencoder_hashes(folder) == {
        name: file_hash(folder / name) for name in ("encoder.pth", "decoder.pth")
    }


def refuse(folder: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load_latent_autoencoder(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_folders_that_are_none(folder: Path, tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", "is no folder with encoder.pth and decoder.pth; give .*taef2_enc")
    (folder / "decoder.pth").unlink()
    refuse(folder, "has no decoder.pth; give the folder .*download")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"14_weight": None}, "14.weight is missing in encoder.pth.*give"),
        ({"14_bias": None}, "does not fit the tiny autoencoder"),
        ({"0_weight": torch.zeros(8)}, "0.weight is missing .*or no convolution"),
        ({"0_weight": torch.zeros(1).expand(1 << 20, 3, 3, 3)}, "does not fit"),
        ({"14_weight": torch.zeros(5, 8, 3, 3)}, "does not fit"),
        ({"15_weight": torch.zeros(1)}, "does not fit"),
        ({"0_bias": torch.full((8,), torch.nan)}, "0.bias holds values that are no finite numbers"),
    ],
)
def test_weights_of_another_network(folder: Path, weights: dict[str, object], said: str) -> None:
    change(folder / "encoder.pth", **weights)
    refuse(folder, said)


def test_halves_of_two_networks(folder: Path) -> None:
    change(folder / "decoder.pth", **{"1_weight": torch.zeros(8, 5, 3, 3)})
    refuse(folder, "does not fit.*decoder.1.weight")


class Trap:
    """Unpickled, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


def test_code_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"0.weight": Trap(tmp_path / "sprung")}, folder / "encoder.pth")
    refuse(folder, "refused: .* could execute code")
    assert not (tmp_path / "sprung").exists()
