"""Figures are written in the format of their name, whole, and the same each time."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from artfp.core.errors import UserError
from artfp.reporting.figure import (
    encode_figure,
    figure_style,
    format_axes,
    save_figure,
    shown_name,
    use_log2_axis,
)


@figure_style
def drawn() -> Figure:
    figure = Figure(figsize=(3.0, 2.0), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], label="line")
    panel.legend()
    format_axes(panel, "images", "accuracy", grid="")
    return figure


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", b"\x89PNG"), ("b.PDF", b"%PDF"), ("new/c.svg", b"<?xml")],
)
def test_the_suffix_decides(tmp_path: Path, name: str, start: bytes) -> None:
    save_figure(drawn(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [Path(name).name]


@pytest.mark.parametrize("name", ["a.jpg", "a", "png", "a.svgz"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"must end in \.png, \.pdf, \.svg"):
        save_figure(drawn(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_the_same_bytes_each_time(form: str) -> None:
    assert encode_figure(drawn(), form) == encode_figure(drawn(), form)


def test_style_is_of_the_figure_alone() -> None:
    before = dict(mpl.rcParams)
    figure = drawn()
    assert dict(mpl.rcParams) == before
    [panel] = figure.axes
    assert figure.dpi == 130
    assert not panel.spines["top"].get_visible() and panel.spines["left"].get_visible()
    legend = panel.get_legend()
    assert legend is not None and not legend.get_frame_on()
    with Image.open(io.BytesIO(encode_figure(figure))) as picture:
        assert picture.width == pytest.approx(3.0 * 130, abs=30)


@figure_style
def named(name: str) -> Figure:
    figure = Figure(figsize=(4.0, 2.0), layout="constrained")
    panel = figure.subplots()
    panel.plot([1, 20], [0, 1], label=shown_name(name))
    use_log2_axis(panel, [1, 20])
    panel.set_yticks([0, 1], [shown_name(name), "b"])
    panel.set_title(shown_name(name))
    panel.legend()
    return figure


@pytest.mark.parametrize("name", ["g$^$", "$x", "$\\frac{$", "_run_1", "two\nlines", "a" * 300])
def test_any_name_is_a_label_as_it_is(name: str) -> None:
    figure = named(name)
    assert encode_figure(figure)[1:4] == b"PNG"  # also where it was drawn in another style
    panel = figure.axes[0]
    legend = panel.get_legend()
    assert legend is not None
    (shown,) = legend.get_texts()
    assert shown.get_text() == panel.get_title() == shown_name(name)
    assert shown.get_text().strip() == (name if len(name) < 24 else "aaaaaaaaaaaa…aaaaaaaaaaa") or (
        shown.get_text() == "two\\nlines"
    )


def test_names_of_one_kind_stay_apart() -> None:
    runs = [f"stylegan2_ffhq_256_of_the_second_training_run_{i}" for i in range(10)]
    assert len({shown_name(run) for run in runs}) == 10
    assert {len(shown_name(run, 14)) for run in runs} == {14}
