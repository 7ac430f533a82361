"""What a secrecy study leaves behind: table, CSV, JSON and plot of AUC against training size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich.box import SIMPLE_HEAD
from rich.table import Table

from artfp import __version__
from artfp.data.tables import csv_line
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, encode_figure
from artfp.secrecy.study import Row

COLUMNS = (
    "encoder",
    "threat",
    "images",
    "attacker",
    "auc",
    "low",
    "high",
    "test_images",
    "psnr",
    "seconds",
)
THREATS = {
    "same_fingerprint": "all images carry one fingerprint",
    "other_fingerprints": "each image carries another fingerprint",
    "other_encoder": "trained on another encoder's images",
}
"""Threats in a few words; `artfp.secrecy.study` states them."""

_MARKERS = ("o", "s", "^", "D", "v", "P")
_PANEL = (3.3, 2.9)  # inches


def secrecy_table(rows: Sequence[Row]) -> Table:
    """For the console: a row for each attacker, a column for each number of training images."""
    sizes = sorted({row.cell.images for row in rows})
    table = Table(box=SIMPLE_HEAD, title="AUC (95% interval); 0.5 is chance", title_justify="left")
    table.add_column("encoder\nthreat", overflow="fold")
    table.add_column("attacker", no_wrap=True)
    for size in sizes:
        table.add_column(f"{size} + {size}\nimages", no_wrap=True)
    found: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        key = (row.cell.suspect, row.cell.threat, row.cell.attacker)
        found.setdefault(key, {})[row.cell.images] = row
    before = ("", "")
    for (name, threat, attacker), by_size in found.items():
        first = (name, threat) != before
        before = (name, threat)
        psnr = next(iter(by_size.values())).psnr
        head = f"{name}, {psnr:.1f} dB\n{threat}" if first else ""
        cells = [_cell(by_size[size]) if size in by_size else "" for size in sizes]
        table.add_row(head, attacker, *cells)
    return table


def secrecy_csv(rows: Sequence[Row]) -> str:
    """A line for each attack."""
    return csv_line(COLUMNS) + "".join(csv_line(_flat(row)[c] for c in COLUMNS) for row in rows)


def secrecy_json(rows: Sequence[Row], settings: dict[str, Any]) -> dict[str, Any]:
    """Settings and attacks as JSON values."""
    flat = [_flat(row) for row in rows]
    return {
        "software": f"artfp {__version__}",
        "settings": settings,
        "rows": [{column: each[column] for column in COLUMNS} for each in flat],
    }


def plot_secrecy(rows: Sequence[Row]) -> bytes:
    """AUC against training images, as a PNG file.

    A column of panels for each threat, a row for each encoder, a line for each attacker; bars are
    95% intervals, the dotted line is chance.
    """
    names = list(dict.fromkeys(row.cell.suspect for row in rows))
    threats = list(dict.fromkeys(row.cell.threat for row in rows))
    attackers = list(dict.fromkeys(row.cell.attacker for row in rows))
    size = (_PANEL[0] * len(threats) + 0.3, _PANEL[1] * len(names) + 0.6)
    picture = Figure(figsize=size, dpi=130)
    panels = picture.subplots(len(names), len(threats), squeeze=False, sharey=True)
    for down, name in enumerate(names):
        for across, threat in enumerate(threats):
            panel = panels[down][across]
            chosen = [r for r in rows if (r.cell.suspect, r.cell.threat) == (name, threat)]
            _panel(panel, chosen, attackers)
            title = THREATS[threat] if len(names) == 1 else f"{name}: {THREATS[threat]}"
            panel.set_title(title, fontsize=8.5)
            if across == 0:
                panel.set_ylabel("AUC", fontsize=9)
            if down == len(names) - 1:
                panel.set_xlabel("training images of each class", fontsize=9)
    handles = [
        Line2D([], [], color=OKABE_ITO[i % 6], marker=_MARKERS[i % 6], markersize=4, label=attacker)
        for i, attacker in enumerate(attackers)
    ]
    height = picture.get_figheight()
    picture.legend(handles=handles, loc="upper center", ncols=len(handles), fontsize=9,
                   frameon=False)  # fmt: skip
    picture.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - 0.35 / height))
    return encode_figure(picture)


def _panel(panel: Axes, rows: Sequence[Row], attackers: Sequence[str]) -> None:
    for number, attacker in enumerate(attackers):
        own = sorted((r for r in rows if r.cell.attacker == attacker), key=lambda r: r.cell.images)
        if not own:
            continue
        panel.errorbar(
            [row.cell.images * 1.03 ** (number - len(attackers) / 2) for row in own],
            [row.auc for row in own],
            [[max(0.0, row.auc - row.low) for row in own],
             [max(0.0, row.high - row.auc) for row in own]],
            color=OKABE_ITO[number % 6], marker=_MARKERS[number % 6], markersize=4, linewidth=1.3,
            capsize=2,
        )  # fmt: skip
    panel.axhline(0.5, **CHANCE_LINE)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sorted({row.cell.images for row in rows})))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    panel.set_ylim(min([0.4, *(row.low for row in rows)]) - 0.02, 1.02)
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8, length=2)


def _cell(row: Row) -> str:
    return f"{row.auc:.3f}\n({row.low:.3f}-{row.high:.3f})"


def _flat(row: Row) -> dict[str, Any]:
    """An attack's facts by the names of COLUMNS, rounded."""
    values = {key: value for key, value in asdict(row).items() if key != "cell"}
    cell = row.cell
    told = {"encoder": cell.suspect, "threat": cell.threat, "images": cell.images}
    told["attacker"] = cell.attacker
    return told | {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
