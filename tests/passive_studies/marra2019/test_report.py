"""Pictures and pages of passive studies, from figures made by hand."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from artfp.data.tables import csv_table, markdown_table, round_significant
from artfp.passive.roc import Accuracy, CorrelationScores
from artfp.passive_studies.marra2019.dependence import RUN, SAME, PairGroup, compare_real_generated
from artfp.passive_studies.marra2019.energy import block_means, fit_energy_curve
from artfp.passive_studies.marra2019.pictures import (
    plot_autocorrelation,
    plot_fingerprints,
    plot_matrix,
)
from artfp.passive_studies.marra2019.plots import (
    plot_accuracy,
    plot_dependence,
    plot_energy,
    plot_histograms,
    plot_jpeg,
    plot_real,
)
from artfp.passive_studies.marra2019.study import page_section
from artfp.reporting.figure import (
    IntervalSeries,
    amplify_residual,
    plot_intervals,
    series_style,
)


def picture(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def inked(data: bytes) -> float:
    """Share of the picture that is not white."""
    return float((picture(data) < 250).any(-1).mean())


def scores(sources: int) -> CorrelationScores:
    rng = np.random.default_rng(0)
    values = tuple(
        rng.normal(0.1 * np.eye(sources)[i], 0.05, (40, sources)) for i in range(sources)
    )
    return CorrelationScores(tuple(f"_source$^$ {i}" for i in range(sources)), values)


def test_amplified_about_its_mean() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(0.2, 0.01, (3, 16, 16)))
    shown, factor = amplify_residual(x)
    assert factor == pytest.approx(0.5 / (3 * float(x.std(correction=0))))
    expected = 0.5 + factor * (x - x.mean())
    np.testing.assert_allclose(shown.transpose(2, 0, 1), expected.clamp(0, 1), atol=1e-12)
    flat, factor = amplify_residual(torch.full((3, 4, 4), 0.3))
    assert factor == 1.0 and (flat == 0.5).all()


@pytest.mark.parametrize("side", [8, 200])
def test_fingerprints_stand_in_rows(side: int) -> None:
    rng = torch.Generator().manual_seed(0)
    prints = {
        name: {count: torch.randn(3, side, side, generator=rng) for count in (2, 8)}
        for name in ("a", "another source")
    }
    one = {"a": prints["a"]}
    both, single = picture(plot_fingerprints(prints)), picture(plot_fingerprints(one))
    assert both.shape[0] > 1.5 * single.shape[0]
    assert inked(plot_fingerprints(prints)) > 0.4


def test_other_pictures_are_drawn() -> None:
    sources = 3
    found = scores(sources)
    names = found.sources
    rng = np.random.default_rng(1)
    x = torch.from_numpy(0.02 * rng.standard_normal((16, 3, 8, 8)))
    energies = [fit_energy_curve(name, block_means([x])) for name in names]
    surfaces = {name: rng.uniform(-0.2, 0.2, (9, 9)) for name in names}
    groups = [
        PairGroup(SAME, 0.2, 0.19, 0.21, {("a", "a"): 0.2}),
        PairGroup(RUN, 0.1, 0.08, 0.12, {("a", "b"): 0.05, ("b", "a"): 0.15}),
    ]
    by_source = {name: [0.2, 0.9] for name in names}
    overall = [(0.2, 0.1, 0.3), (0.9, 0.8, 1.0)]
    whole = Accuracy((30,) * sources, (40,) * sources)
    for data in (
        plot_energy(energies),
        plot_autocorrelation(surfaces, 2),
        plot_histograms(found),
        plot_matrix(rng.uniform(-0.1, 0.3, (sources, sources)), names),
        plot_jpeg(whole, {95: whole, 50: Accuracy((0,) * sources, (40,) * sources)}, names),
        plot_accuracy([1, 2], overall, by_source, "images"),
        plot_accuracy([8, 32], overall, by_source, "pixels"),
        plot_real(compare_real_generated(found, names[:1])),
        plot_dependence(groups, ["same source", "another run"]),
    ):
        assert 0.01 < inked(data) < 0.95


def test_dots_have_a_row_for_each_label_and_gaps_for_none() -> None:
    panel = Figure().subplots()
    series = [
        IntervalSeries("one", [(0.5, 0.4, 0.6), None]),
        IntervalSeries("two", [(0.1, 0.1, 0.2), (0.9, 0.8, 0.9)]),
    ]
    plot_intervals(panel, ["a", "b"], series)
    assert [label.get_text() for label in panel.get_yticklabels()] == ["a", "b"]
    first, second = (each[0] for each in panel.containers)
    np.testing.assert_allclose(first.get_xydata(), [[0.5, -0.1]])
    np.testing.assert_allclose(second.get_xydata(), [[0.1, 0.1], [0.9, 1.1]])


def test_sources_look_different() -> None:
    looks = [tuple(series_style(number).values()) for number in range(22)]
    assert len(set(looks)) == 22
    assert "#000000" not in {series_style(number)["color"] for number in range(22)}


ROWS = [
    {"source": "a|b", "auc": 0.123456789, "fits": True},
    {"source": "c, d", "auc": 1.0, "fits": False},
]


def test_tables() -> None:
    page = markdown_table(ROWS)
    assert page.split("\n")[1:] == [
        "|---|---|---|",
        "| a\\|b | 0.1235 | yes |",
        "| c, d | 1 | no |",
    ]
    assert page.startswith("| source | auc | fits |")
    read = list(csv.DictReader(io.StringIO(csv_table(ROWS))))
    assert [row["source"] for row in read] == ["a|b", "c, d"] and float(read[0]["auc"]) < 0.1235
    text = page_section("Title", "Words.", "x.png", ROWS)
    assert text.startswith("## Title\n\nWords.\n\n![Title](x.png)\n\n| source |")


def test_rounding_keeps_what_is_no_float() -> None:
    found = round_significant({"a": [0.123456789, 3, "x"], "b": {"c": 1234567.0, "d": True}})
    assert found == {"a": [0.12346, 3, "x"], "b": {"c": 1234600.0, "d": True}}
