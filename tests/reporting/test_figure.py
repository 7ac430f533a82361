"""Figures are written in the format of their name, whole, and the same each time."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from artfp.core.errors import UserError
from artfp.reporting.figure import encode_figure, figure_style, format_axes, save_figure


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
