"""Training against a latent autoencoder: drawn, resumed, named in the card, measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from artfp.core.errors import UserError
from artfp.data.bundle import read_card
from artfp.nn.autoencoder_weights import autoencoder_hashes
from artfp.watermark.training.fit import train
from artfp.watermark.training.settings import TrainSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def test_a_whole_training(
    settings: Callable[..., TrainSettings], autoencoder_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(autoencoder_folder, tmp_path / "mine"))
    result = train(settings(max_steps=4, latent_autoencoder=folder))
    assert result is not None and 0.0 <= result.measured["bit_accuracy_latent"] <= 1.0
    card = read_card(result.encoder)["training"]
    assert card["settings"]["latent_autoencoder"] == autoencoder_hashes(folder)
    assert "--latent_autoencoder mine" in card["command"] and str(tmp_path) not in str(card)
    output = settings().output_dir
    state = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in state if "autoencoder" in name]
    reaches = len(state["mixture.reach"])

    again = train(settings(max_steps=6, latent_autoencoder=folder, resume=True))
    assert again is not None
    for other in (None, Path(shutil.copytree(folder, tmp_path / "other"))):
        if other is not None:
            weights = torch.load(other / "encoder.pth", weights_only=True)
            torch.save({**weights, "0.bias": weights["0.bias"] + 1}, other / "encoder.pth")
        with pytest.raises(UserError):
            train(settings(max_steps=8, latent_autoencoder=other, resume=True))
    train(settings("plain", max_steps=1))
    plain = settings("plain").output_dir / "checkpoints" / "last.ckpt"
    assert len(torch.load(plain, weights_only=True)["state_dict"]["mixture.reach"]) == reaches - 1
