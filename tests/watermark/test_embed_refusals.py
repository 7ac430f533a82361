"""Embeddings that are refused: settings, places, weights, and the folder of another run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from artfp.core.errors import UserError
from artfp.watermark import Watermark
from artfp.watermark.embed_run import run_embedding
from tests.watermark.embedded import (
    ONE,
    Jobs,
    save_image,
)


@pytest.mark.parametrize(
    "fields",
    [
        {"strength": 0.0},
        {"strength": float("nan")},
        {"format": "gif"},
    ],
)
def test_impossible_settings(job: Jobs, fields: dict[str, object]) -> None:
    with pytest.raises(UserError):
        job(**fields)


def test_labels_of_another_form_are_refused_at_once(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    save_image(tmp_path / "in/x.png", photographs[0][:40, :40])
    (tmp_path / "in/dataset.json").write_text('{"labels": "none"}')
    with pytest.raises(UserError, match="labels"):
        job(tmp_path / "in")


def test_an_output_among_the_images_is_refused(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    save_image(tmp_path / "in/x.png", photographs[0][:40, :40])
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    for output in (tmp_path / "in", tmp_path / "in/deep/out", tmp_path / "link/out"):
        with pytest.raises(UserError, match="outside"):
            job(tmp_path / "in", output=output)
    job(tmp_path / "in", output=tmp_path / "in2")
    job(tmp_path / "in/x.png", output=tmp_path / "in")


def test_weights_that_spoil_images_stop_the_run(job: Jobs, pair: Watermark, tmp_path: Path) -> None:
    class Loud(torch.nn.Module):
        bits, resolution, level = pair.bits, pair.encoder.resolution, 0.2  # 14 dB

        def residual(self, x: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
            return torch.full_like(x, self.level)

    this = job(encoder=Loud(), strength=0.1)
    with pytest.raises(UserError, match=r"PSNR of 14\.0 dB at --strength 1, below 20"):
        run_embedding(this, ONE)
    assert not list(this.output.rglob("*.png"))
    broken = Loud()
    broken.level = math.nan
    with pytest.raises(UserError, match="PSNR of nan dB"):
        run_embedding(job(output=tmp_path / "broken", encoder=broken, batch_size=1), ONE)
    wanted = job(output=tmp_path / "loud", strength=10.0)  # loud, as it was asked for
    assert run_embedding(wanted, ONE) is not None
