"""Means and worst images of sets, and the line that tells them."""

from __future__ import annotations

import numpy as np
import pytest

from artfp.metrics import visibility_summary
from artfp.metrics.image_visibility import visibility_of_image
from artfp.metrics.visibility_models import color_video_vdp, ssimulacra2
from artfp.metrics.visibility_summary import VisibilitySummary, describe_visibility
from tests.metrics.test_visibility_models import needs_visibility


def pair(seed: int, step: int, size: tuple[int, int] = (64, 48)) -> tuple[np.ndarray, np.ndarray]:
    """Cells of 8 pixels, and the same with others added."""
    draws = np.random.default_rng(seed)
    cells = draws.integers(20, 220, (size[0] // 8, size[1] // 8, 3))
    noise = draws.integers(-step, step + 1, cells.shape)
    first, second = ((each).repeat(8, 0).repeat(8, 1).astype(np.uint8) for each in
                     (cells, cells + noise))  # fmt: skip
    return first, second


STEPS = {"a/1.png": 2, "b.png": 9, "c.png": 4}


def test_means_and_the_worst() -> None:
    summary = VisibilitySummary(models=0)
    assert summary.figures() == {} and summary.worst == ""
    pairs = {name: pair(number, step) for number, (name, step) in enumerate(STEPS.items())}
    own = {name: summary.add(name, *both) for name, both in pairs.items()}
    found = summary.figures()
    for scale in (60, 20):
        seen = [visibility_of_image(*both, scale) for both in pairs.values()]
        p95 = [each.p95.item() for each in seen]
        assert found[f"scielab_p95_{scale}"] == pytest.approx(np.mean(p95))
        assert found[f"scielab_p95_{scale}_worst"] == max(p95)
        shares = [each.share.item() for each in seen]
        assert found[f"scielab_over2_{scale}"] == pytest.approx(np.mean(shares))
        assert [each[f"scielab_p95_{scale}"] for each in own.values()] == p95
    assert summary.worst == "b.png"
    assert "cvvdp" not in found


@needs_visibility
def test_models_look_at_the_first_images() -> None:
    summary = VisibilitySummary(models=2)
    pairs = [pair(number, step) for number, step in enumerate((3, 12, 40))]
    for number, both in enumerate(pairs):
        summary.add(str(number), *both)
    found = summary.figures()
    for name, model in (("ssimulacra2", ssimulacra2), ("cvvdp", color_video_vdp)):
        values = [model(*both) for both in pairs[:2]]
        assert found[name] == pytest.approx(np.mean(values), abs=1e-4)
        assert found[f"{name}_worst"] == pytest.approx(min(values), abs=1e-4)


@needs_visibility
def test_models_look_at_the_centre_of_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility_summary, "_MODEL_SIDE", 32)
    first, second = pair(0, 9, (64, 96))
    found = VisibilitySummary().add("x", first, second)
    centre = (slice(16, 48), slice(32, 64))
    wanted = ssimulacra2(first[centre].copy(), second[centre].copy())
    assert found["ssimulacra2"] == pytest.approx(wanted)
    assert "cvvdp" not in VisibilitySummary().add("tiny", first[:7], second[:7])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility_summary, "visibility_models_installed", lambda: False)
    assert "ssimulacra2" not in VisibilitySummary().add("x", *pair(0, 3))


def test_line() -> None:
    figures = {
        "scielab_p95_60": 1.04,
        "scielab_p95_60_worst": 1.9,
        "scielab_over2_60": 0.003,
        "scielab_p95_20": 2.55,
        "scielab_p95_20_worst": 3.1,
        "scielab_over2_20": 0.0821,
        "psnr": 40.0,
    }
    assert describe_visibility(figures, "a.png") == (
        "visibility: S-CIELAB p95 1.04 (worst 1.90, a.png), 0.3% of pixels over 2; "
        "zoomed in 2.55 (worst 3.10), 8.2%"
    )
    more = {**figures, "ssimulacra2": 91.23, "cvvdp": 9.914}
    assert describe_visibility(more) == (
        "visibility: S-CIELAB p95 1.04 (worst 1.90), 0.3% of pixels over 2; zoomed in 2.55 "
        "(worst 3.10), 8.2%; SSIMULACRA2 91.2; ColorVideoVDP 9.91 JOD"
    )
