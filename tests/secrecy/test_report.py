"""The report of a secrecy study, from figures made by hand."""

from __future__ import annotations

import io

from PIL import Image

from artfp.reporting.figure import encode_figure
from artfp.secrecy.report import plot_secrecy, secrecy_csv, secrecy_json, secrecy_table
from artfp.secrecy.study import Attack, SecrecyRow
from tests.golden import Golden
from tests.printed import printed

ROWS = [
    SecrecyRow(
        Attack(encoder, threat, images, attacker),
        auc,
        auc - 0.05,
        auc + 0.04321987,
        200,
        38.76,
        12.345678,
    )
    for encoder in ("photo128", "mine[1]")
    for threat in ("same_fingerprint", "other_encoder")
    for attacker, auc in (("linear", 0.512345678), ("network", 0.987))
    for images in (100, 400)
    if (attacker, images) != ("linear", 400)
]


def test_tables(golden: Golden) -> None:
    golden("secrecy.csv", secrecy_csv(ROWS))
    golden("secrecy.txt", printed(secrecy_table(ROWS)))
    found = secrecy_json(ROWS, {"seed": 0})
    assert found["rows"][0]["encoder"] == "photo128" and found["settings"] == {"seed": 0}
    assert len(found["rows"]) == len(ROWS)


def test_plot() -> None:
    with Image.open(io.BytesIO(encode_figure(plot_secrecy(ROWS)))) as picture:
        assert picture.format == "PNG" and min(picture.size) > 500
