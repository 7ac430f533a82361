"""Tables and sentences of a detection on the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artfp.core.command import count_images
from artfp.core.errors import one_line
from artfp.data.tables import Column, rich_table
from artfp.stats import format_p, log_p_value
from artfp.stats.multiple_testing import holm

if TYPE_CHECKING:
    from rich.table import Table

MAX_ROWS = 10
"""Images that the table lists: those with the most matches."""


@dataclass(frozen=True)
class _Row:
    """A line of the table: some images, and their verdict as JSON if there is one."""

    images: str
    verdict: Mapping[str, Any] | None
    unreadable: str = ""


def verdict_table(report: Mapping[str, Any]) -> Table:
    """Return a row for all images and, unless they are one source, one for each of the best."""
    verdict, number = report["verdict"], report["images"]["read"]
    whole = f"{number} of one source" if report["same_source"] else f"any of {number}"
    if not report["same_source"] and number == 1:
        whole = "1 image"
    over_all = None if verdict is None else verdict | {"verdict": verdict["outcome"]}
    rows = [_Row(whole, over_all, str(report["images"]["unreadable"]))]
    if not report["same_source"] and number > 1:
        best = sorted(report["evidence"], key=lambda image: image["log10_p_corrected"])
        rows += [_Row(image["name"], image) for image in best[:MAX_ROWS]]

    def of_verdict(heading: str, write: Any) -> Column:
        return Column(
            heading,
            lambda row: None if row.verdict is None else write(row.verdict),
            align="right",
        )

    owner = [Column("best owner", lambda row: _owner(row.verdict))]
    columns = [
        Column("images"),
        Column("verdict", lambda row: _outcome(row.verdict)),
        *(owner if report["sought"]["registry"] is not None else ()),
        of_verdict("matches", lambda verdict: f"{verdict['matches']} of {report['bits']}"),
        of_verdict("log10 p corrected", lambda verdict: f"{verdict['log10_p_corrected']:.2f}"),
        Column("unreadable", align="right"),
    ]
    return rich_table(rows, columns, boxed=True)


def explain_verdict(report: Mapping[str, Any]) -> str:
    """Return the lines under the table: the correction, the verdict and its limits."""
    verdict = report["verdict"]
    if verdict is None:
        return "Nothing was tested."
    lines = [f"p is corrected for {verdict['corrected_for']}."]
    number = report["images"]["read"]
    if not report["same_source"] and number > 1:
        count = report["sought"]["fingerprints"]
        lines[0] += f" That of a single image: for {count} fingerprint{'' if count == 1 else 's'}."
        if number > MAX_ROWS:
            lines[0] += f" {count_images(number - MAX_ROWS)} more are not listed here."
    if doubtful := report["images"]["doubtful"]:
        lines.append(f'{count_images(doubtful)} cannot be "no match": see the warnings.')
    return "\n".join([*lines, one_line(verdict["explanation"]), one_line(verdict["limits"])])


def matches_table(matches: NDArray[np.int64], bits: int) -> Table:
    """Return best, median and worst of the matches (N,), with p-values corrected for the N."""
    ordered = np.sort(matches)
    rows = [
        ("best", int(ordered[-1])),
        ("median", int(ordered[(len(ordered) - 1) // 2])),
        ("worst", int(ordered[0])),
    ]
    corrected = dict(zip(ordered.tolist(), holm(log_p_value(ordered, bits)), strict=True))
    several = f" of {len(ordered)} images (Holm)" if len(ordered) > 1 else ""
    columns = [
        Column("image", lambda row: row[0]),
        Column("bits matched", lambda row: f"{row[1]} of {bits}"),
        Column("bit accuracy", lambda row: f"{row[1] / bits:.4f}"),
        Column(f"p-value{several}", lambda row: format_p(float(corrected[row[1]]))),
    ]
    return rich_table(rows, columns, boxed=True)


def _outcome(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "inconclusive"
    return str(verdict["verdict"]) + (" (tampered)" if verdict["tampered"] else "")


def _owner(verdict: Mapping[str, Any] | None) -> str:
    """Owner of the nearest fingerprint: in brackets, where it is no match."""
    entry = None if verdict is None else verdict["nearest"]
    if verdict is None or entry is None:
        return ""
    name = ": ".join(entry[field] for field in ("owner", "subject") if field in entry)
    return name if verdict["verdict"] == "match" else f"({name})"
