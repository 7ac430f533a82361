"""Tables and pictures of transfer studies, from figures made by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.reporting.figure import encode_figure
from artfp.transfer.decoded import InData, Transferred, TransferRow, VerdictOn
from artfp.transfer.report import (
    TRANSFER_COLUMNS,
    flat_row,
    last_rows,
    mirror_lines,
    plot_progress,
    side_by_side,
    transfer_csv,
    transfer_markdown,
    transfer_table,
)
from artfp.transfer.table import (
    read_family,
    studies_csv,
    studies_json,
    studies_markdown,
    studies_table,
)
from artfp.watermark import build_pair
from tests.golden import Golden
from tests.printed import printed


def row(group: str, steps: int, accuracy: float, images: int = 100) -> TransferRow:
    verdicts = tuple(
        VerdictOn(n, images // n, -2.0 * n**0.5, -1.0, 0.5, 1e-3)
        for n in (1, 10, 100)
        if n <= images
    )
    read = Transferred(images, 64, accuracy, 0.01, accuracy - 0.1, 1.0, accuracy, verdicts)
    return TransferRow(group, steps, read)


ROWS = [row("fingerprinted", s, a) for s, a in ((10, 0.7), (20, 0.9))] + [row("clean", 20, 0.5, 8)]


def test_a_row_has_all_columns() -> None:
    cells = flat_row(ROWS[1])
    assert tuple(cells) == TRANSFER_COLUMNS
    assert (
        cells["bit_accuracy"] == 0.9 and cells["log10_p_100"] == -20.0 and cells["found_1"] == 0.5
    )
    assert flat_row(ROWS[2])["log10_p_10"] is None
    read = list(csv.DictReader(io.StringIO(transfer_csv(ROWS))))
    assert [r["group"] for r in read] == ["fingerprinted", "fingerprinted", "clean"]
    assert read[2]["log10_p_10"] == "" and float(read[0]["low"]) == pytest.approx(0.6)


def test_the_last_row_of_each_group_stands_in_the_page() -> None:
    assert last_rows([ROWS[1], ROWS[0], ROWS[2]]) == [ROWS[1], ROWS[2]]
    page = transfer_markdown(InData(36.5, ROWS[0].read), ROWS, "About.", ["More."])
    assert "| fingerprinted | 20 | 0.9000 | 0.800 to 1.000 | 58 of 64 |" in page
    assert page.count("| fingerprinted |") == 1 and "36.50 dB" in page and page.endswith("More.\n")


def test_tables(golden: Golden, tmp_path: Path) -> None:
    golden("transfer.csv", transfer_csv(ROWS))
    golden("transfer.md", transfer_markdown(InData(36.5, ROWS[0].read), ROWS, "About.", ["More."]))
    golden("transfer.txt", printed(transfer_table(ROWS), width=160))
    (tmp_path / "transfer.json").write_text(json.dumps(facts()))
    old = facts(distances=None)
    del old["mirror"]  # as studies before it was recorded
    (tmp_path / "bare.json").write_text(json.dumps(old))
    families = [read_family(str(tmp_path / name)) for name in ("transfer.json", "bare.json")]
    golden("studies.csv", studies_csv(families))
    golden("studies.md", studies_markdown(families))
    golden("studies.txt", printed(studies_table(families), width=200))


def test_pictures() -> None:
    with Image.open(io.BytesIO(encode_figure(plot_progress(ROWS, "dcgan")))) as picture:
        assert picture.format == "PNG" and picture.width > picture.height > 300
    blocks = {"clean": torch.zeros(16, 3, 32, 32), "fingerprinted": torch.ones(16, 3, 32, 32)}
    whole = side_by_side(blocks)
    assert whole.shape == (3, 22 + 2 * 34 + 2, 2 * (8 * 34 + 2) + 12)
    assert whole[:, 32, 10].max() == 0 and whole[:, 32, -10].min() == 1
    assert all(half[:, :22].min() < 0.5 for half in whole.chunk(2, 2))  # their names


def facts(**more: Any) -> dict[str, Any]:
    def read(group: str, steps: int, accuracy: float) -> dict[str, Any]:
        verdicts = [
            {"images": 1, "log10_p_corrected": -1.0, "found": 0.75},
            {"images": 100, "log10_p_corrected": -12.5, "found": 1.0},
        ]
        figures = {"images": 100, "bit_accuracy": accuracy, "low": 0.9, "verdicts": verdicts}
        return {"group": group, "steps": steps, "read": figures}

    def estimate(value: float) -> dict[str, float]:
        return {"value": value, "error": 0.1, "low": value - 0.1, "high": value + 0.1}

    distance = {"images": 100, "frechet": estimate(4.0), "kernel": estimate(2.0)}
    return {
        "model": "dcgan",
        "resolution": 32,
        "mirror": True,
        "in_data": {"psnr": 36.2},
        "rows": [
            read("fingerprinted", 20, 0.99),
            read("fingerprinted", 10, 0.8),
            read("clean", 20, 0.5),
        ],
        "distances": {
            "groups": {"fingerprinted": distance, "clean": distance},
            "frechet": {"ratio": estimate(1.0)},
            "kernel": {"ratio": estimate(2.0)},
        },
    } | more


def test_a_table_of_studies(tmp_path: Path) -> None:
    (tmp_path / "transfer.json").write_text(json.dumps(facts()))
    family = read_family(str(tmp_path))
    assert family == read_family(str(tmp_path / "transfer.json"))
    assert (family.bit_accuracy, family.steps, family.log10_p) == (0.99, 20, -12.5)
    assert (family.clean, family.other, family.ratio) == (0.5, None, (1.0, 0.9, 1.1))
    (tmp_path / "bare.json").write_text(json.dumps(facts(distances=None)))
    bare = read_family(str(tmp_path / "bare.json"))
    assert bare.ratio is None and bare.frechet is None
    lines = studies_markdown([family, bare]).splitlines()
    expected = (
        "| dcgan | 32 | 20 | yes | 36.2 | 0.9900 | 0.900 | -12.5 | 0.750 | 0.500 |  |  | 4, 4 | "
        "2.000 (1.900 to 2.100) |"
    )
    assert lines[2] == expected and len({line.count("|") for line in lines[:4]}) == 1
    read = list(csv.DictReader(io.StringIO(studies_csv([family, bare]))))
    assert read[0]["ratio"] == "1.0" and read[1]["ratio"] == ""
    assert json.loads(studies_json([bare]))[0]["model"] == "dcgan"


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run artfp transfer study"):
        read_family(str(tmp_path))
    for text in ("{", "[]", '{"rows": []}'):
        (tmp_path / "transfer.json").write_text(text)
        with pytest.raises(UserError, match="not what a transfer study writes"):
            read_family(str(tmp_path))


def test_mirroring_is_told_of_where_it_matters(tmp_path: Path) -> None:
    encoder, decoder = build_pair("stegastamp", 8, 32)
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    torch.save(decoder.state_dict(), tmp_path / "elsewhere.pth")
    published, other = str(tmp_path / "encoder.pth"), str(tmp_path / "elsewhere.pth")
    assert "--mirror false" in mirror_lines(published, True, other)[0]
    assert mirror_lines(published, False) == mirror_lines("cifar32", True) == []
