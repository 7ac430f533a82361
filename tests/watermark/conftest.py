"""EmbeddingJob jobs over a small data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artfp.data import open_source
from artfp.data.paths import file_hash
from artfp.watermark import Watermark
from artfp.watermark.embed_job import EmbeddingJob
from artfp.watermark.prediction_loop import make_trainer
from tests.watermark.embedded import Jobs


@pytest.fixture
def job(pair: Watermark, weights: Path, photo_folder: Path, tmp_path: Path) -> Jobs:
    """Makes embedding jobs: any field of EmbeddingJob can be given; data_dir names the source."""
    base = EmbeddingJob(
        open_source(photo_folder),
        tmp_path / "out",
        pair.encoder,
        file_hash(weights / "encoder.safetensors"),
        make_trainer(),
        batch_size=8,
        num_workers=0,
    )

    def make(data_dir: Path | None = None, **fields: Any) -> EmbeddingJob:
        if data_dir is not None:
            fields["source"] = open_source(data_dir)
        return replace(base, trainer=make_trainer(), **fields)

    return make
