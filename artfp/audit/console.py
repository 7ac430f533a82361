"""What a detection found, as tables on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from artfp.core.errors import one_line
from artfp.stats import format_p, log_p_value

MAX_ROWS = 10
"""Images that the table lists: those with the most matches."""


def verdict_table(facts: Mapping[str, Any]) -> Table:
    """One row for the whole; unless that is one source, one for each of the best images too."""
    registered = facts["sought"]["registry"] is not None
    table = Table("images", "verdict")
    if registered:
        table.add_column("best owner")
    for header in ("matches", "log10 p corrected", "unreadable"):
        table.add_column(header, justify="right")
    counts, verdict = facts["images"], facts["verdict"]
    bits = facts["bits"]

    def add(who: str, said: Mapping[str, Any] | None, unreadable: str) -> None:
        cells = [who, "inconclusive" if said is None else _outcome(said)]
        if registered:
            cells.append(_owner(said))
        cells.append("" if said is None else f"{said['matches']} of {bits}")
        cells.append("" if said is None else f"{said['log10_p_corrected']:.2f}")
        # Text: a name with [brackets] is a name.
        table.add_row(*map(Text, [*cells, unreadable]))

    number = counts["read"]
    if facts["same_source"]:
        who = f"{number} of one source"
    else:
        who = "1 image" if number == 1 else f"any of {number}"
    add(who, None if verdict is None else verdict | {"verdict": verdict["outcome"]},
        str(counts["unreadable"]))  # fmt: skip
    if not facts["same_source"] and number > 1:
        best = sorted(facts["evidence"], key=lambda image: image["log10_p_corrected"])
        for image in best[:MAX_ROWS]:
            add(one_line(image["name"]), image, "")
    return table


def explain_verdict(facts: Mapping[str, Any]) -> str:
    """What stands under the table: the correction, the verdict and its limits."""
    verdict = facts["verdict"]
    if verdict is None:
        return "Nothing was tested."
    lines = [f"p is corrected for {verdict['corrected_for']}."]
    if not facts["same_source"] and facts["images"]["read"] > 1:
        keys = facts["sought"]["fingerprints"]
        lines[0] += f" That of a single image: for {keys} fingerprint{'' if keys == 1 else 's'}."
    more = facts["images"]["read"] - MAX_ROWS
    if not facts["same_source"] and more > 0:
        lines[0] += f" {more} more images are in the table of the output folder."
    return "\n".join([*lines, one_line(verdict["explanation"]), one_line(verdict["limits"])])


def matches_table(matches: NDArray[np.int64], bits: int) -> Table:
    """Matches (N,) over all images: best, median, worst, with the p-value of such an image."""
    table = Table("image", "bits matched", "bit accuracy", "p-value")
    ordered = np.sort(matches)
    for label, count in (
        ("best", ordered[-1]),
        ("median", ordered[(len(ordered) - 1) // 2]),
        ("worst", ordered[0]),
    ):
        p = format_p(float(log_p_value(int(count), bits)))
        table.add_row(label, f"{count} of {bits}", f"{count / bits:.4f}", p)
    return table


def _outcome(said: Mapping[str, Any]) -> str:
    return str(said["verdict"]) + (" (tampered)" if said["tampered"] else "")


def _owner(said: Mapping[str, Any] | None) -> str:
    """Whose the nearest fingerprint is: in brackets, where it is no match."""
    entry = None if said is None else said["nearest"]
    if said is None or entry is None:
        return ""
    subject = f": {one_line(entry['subject'])}" if "subject" in entry else ""
    name = one_line(entry["owner"]) + subject
    return name if said["verdict"] == "match" else f"({name})"
