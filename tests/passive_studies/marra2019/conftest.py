"""Images of planted patterns, and what the study measures on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.data.sources import open_sources
from artfp.passive.residuals import load_extractor
from artfp.passive_studies.marra2019.images import SourceImages
from artfp.passive_studies.marra2019.measure import (
    MeasurementPlan,
    ResidualMeasurements,
    measure_sources,
)
from artfp.perturbations.conditions import choose
from tests.passive_studies.marra2019.planted import COUNT, ESTIMATE, NAMES, SIDE

CONDITIONS = tuple(choose(["blur", "noise"], {"blur": [1.0], "noise": [0.1]}))[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise with a pattern for each generator; the two dcgans share half of theirs."""
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    shared, *own = rng.standard_normal((4, SIDE, SIDE, 3))
    patterns = (own[0] + shared, own[1] + shared, 1.4 * own[2], 0.0 * shared)
    for name, pattern in zip(NAMES, patterns, strict=True):
        (root / name).mkdir()
        for number in range(COUNT):
            pixels = 128.0 + 8.0 * pattern + 20.0 * rng.standard_normal((SIDE, SIDE, 3))
            image = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
            image.save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def measured(folder: Path) -> ResidualMeasurements:
    images = SourceImages(open_sources(folder), seed=3)
    wanted = MeasurementPlan(
        ESTIMATE, COUNT - ESTIMATE, (95, 60), numbers=True, crops=True, conditions=CONDITIONS
    )
    return measure_sources(images, load_extractor("gaussian"), wanted)
