"""Published models of visibility: their direction, and what is said where they are missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from artfp.core.errors import UserError
from artfp.metrics import visibility_models
from artfp.metrics.visibility_models import (
    color_video_vdp,
    flip,
    ssimulacra2,
    visibility_models_installed,
)

needs_visibility = pytest.mark.skipif(
    not visibility_models_installed(), reason="needs the extra `visibility`"
)


@pytest.fixture(scope="module")
def photograph(photo_crops: Callable[..., Tensor]) -> np.ndarray:
    found: np.ndarray = photo_crops(1, 128, seed=2)[0].permute(1, 2, 0).contiguous().numpy()
    return found


def noisy(image: np.ndarray, step: int) -> np.ndarray:
    """In cells of 8 pixels, as most watermarks."""
    cells = np.random.default_rng(0).integers(-step, step + 1, (16, 16, 3))
    noise = cells.repeat(8, 0).repeat(8, 1)
    changed: np.ndarray = np.clip(image.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    return changed


@needs_visibility
def test_colour_video_vdp(photograph: np.ndarray) -> None:
    """10 for equal images, less the more is changed, and the coarser it is seen."""
    found = [color_video_vdp(photograph, noisy(photograph, step)) for step in (0, 3, 12)]
    assert found[0] == pytest.approx(10.0, abs=1e-3) and found[0] > found[1] > found[2] > 5
    changed = noisy(photograph, 6)
    assert color_video_vdp(photograph, changed, 20.0) != color_video_vdp(photograph, changed, 60.0)


@needs_visibility
def test_ssimulacra2(photograph: np.ndarray) -> None:
    found = [ssimulacra2(photograph, noisy(photograph, step)) for step in (0, 3, 12)]
    assert found[0] == pytest.approx(100.0, abs=1e-3) and found[0] > found[1] > found[2]
    with pytest.raises(ValueError, match="under 8 pixels"):
        ssimulacra2(photograph[:7], photograph[:7])


@needs_visibility
def test_flip(photograph: np.ndarray) -> None:
    pytest.importorskip("flip_evaluator")
    found = [flip(photograph, noisy(photograph, step)) for step in (0, 3, 12)]
    assert found[0] == pytest.approx(0.0, abs=1e-6) and found[0] < found[1] < found[2] < 1


@pytest.mark.parametrize(
    ("model", "package"),
    [(color_video_vdp, "pycvvdp"), (ssimulacra2, "ssimulacra2"), (flip, "flip_evaluator")],
)
def test_without_the_extra(
    model: Callable[[np.ndarray, np.ndarray], float],
    package: str,
    photograph: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    visibility_models._vdp.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=rf"{package}.*artfp\[visibility\]"):
        model(photograph, photograph)


@needs_visibility
def test_nothing_is_printed() -> None:
    """Not even by packages that look for a GPU as they are imported."""
    code = (
        "import numpy as np; from artfp.metrics.visibility_models import color_video_vdp; "
        "gray = np.full((32, 32, 3), 128, np.uint8); color_video_vdp(gray, gray)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
