"""Files of a secrecy study: table, CSV, JSON and plot of AUC against training size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from artfp import __version__
from artfp.data.tables import Column, csv_table, json_rows, rich_table
from artfp.reporting.figure import CHANCE_LINE, figure_style, series_style, shown_name
from artfp.secrecy.study import SecrecyRow

if TYPE_CHECKING:
    from rich.table import Table

SECRECY_COLUMNS = (
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
THREAT_TITLES = {
    "same_fingerprint": "all images carry one fingerprint",
    "other_fingerprints": "each image carries another fingerprint",
    "other_encoder": "trained on another encoder's images",
}
"""Threats in a few messages; `artfp.secrecy.study` states them."""

_PANEL = (3.3, 2.9)  # inches


def secrecy_table(rows: Sequence[SecrecyRow]) -> Table:
    """Return a table for the console: attackers by numbers of training images."""
    sizes = sorted({row.attack.images for row in rows})
    found: dict[tuple[str, str, str], dict[int, SecrecyRow]] = {}
    for row in rows:
        key = (row.attack.target, row.attack.threat, row.attack.attacker)
        found.setdefault(key, {})[row.attack.images] = row
    cells = []
    before = ("", "")
    for (name, threat, attacker), by_size in found.items():
        psnr = next(iter(by_size.values())).psnr
        head = f"{name}, {psnr:.1f} dB\n{threat}" if (name, threat) != before else ""
        before = (name, threat)
        cells.append([head, attacker, *(by_size.get(size) for size in sizes)])
    columns = [
        Column("encoder\nthreat", wrap="fold", multiline=True),
        Column("attacker", wrap="no"),
        *(
            Column(f"{size} + {size}\nimages", form=_interval_text, wrap="no", multiline=True)
            for size in sizes
        ),
    ]
    return rich_table(cells, columns, "AUC (95% interval); 0.5 is chance")


def secrecy_csv(rows: Sequence[SecrecyRow]) -> str:
    """Return a line for each attack."""
    return csv_table(map(_flat, rows), SECRECY_COLUMNS)


def secrecy_json(rows: Sequence[SecrecyRow], settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings and attacks as JSON values."""
    return {
        "software": f"artfp {__version__}",
        "settings": settings,
        "rows": json_rows(map(_flat, rows), SECRECY_COLUMNS),
    }


@figure_style
def plot_secrecy(rows: Sequence[SecrecyRow]) -> Figure:
    """Plot AUC against training images.

    A column of panels for each threat, a row for each encoder, a line for each attacker; bars are
    95% intervals, the dotted line is chance.
    """
    names = list(dict.fromkeys(row.attack.target for row in rows))
    threats = list(dict.fromkeys(row.attack.threat for row in rows))
    attackers = list(dict.fromkeys(row.attack.attacker for row in rows))
    size = (_PANEL[0] * len(threats) + 0.3, _PANEL[1] * len(names) + 0.6)
    picture = Figure(figsize=size)
    panels = picture.subplots(len(names), len(threats), squeeze=False, sharey=True)
    for down, name in enumerate(names):
        for across, threat in enumerate(threats):
            panel = panels[down][across]
            chosen = [r for r in rows if (r.attack.target, r.attack.threat) == (name, threat)]
            _panel(panel, chosen, attackers)
            if down == 0:
                panel.set_title(THREAT_TITLES[threat], fontsize=8.5)
            if across == 0:
                panel.set_ylabel("AUC" if len(names) == 1 else f"{shown_name(name)}\nAUC")
            if down == len(names) - 1:
                panel.set_xlabel("training images of each class")
    handles = [
        Line2D([], [], label=attacker, **series_style(number))
        for number, attacker in enumerate(attackers)
    ]
    height = picture.get_figheight()
    picture.legend(handles=handles, loc="upper center", ncols=len(handles), fontsize=9)
    picture.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - 0.35 / height))
    return picture


def _panel(panel: Axes, rows: Sequence[SecrecyRow], attackers: Sequence[str]) -> None:
    for number, attacker in enumerate(attackers):
        own = sorted(
            (r for r in rows if r.attack.attacker == attacker), key=lambda r: r.attack.images
        )
        if not own:
            continue
        panel.errorbar(
            [row.attack.images * 1.03 ** (number - len(attackers) / 2) for row in own],
            [row.auc for row in own],
            [[max(0.0, row.auc - row.low) for row in own],
             [max(0.0, row.high - row.auc) for row in own]],
            **series_style(number),
        )  # fmt: skip
    panel.axhline(0.5, **CHANCE_LINE)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sorted({row.attack.images for row in rows})))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    panel.set_ylim(min([0.4, *(row.low for row in rows)]) - 0.02, 1.02)
    panel.grid(axis="y")


def _interval_text(row: SecrecyRow) -> str:
    return f"{row.auc:.3f}\n({row.low:.3f}-{row.high:.3f})"


def _flat(row: SecrecyRow) -> dict[str, Any]:
    """Figures of an attack by the names of SECRECY_COLUMNS, rounded."""
    values = {key: value for key, value in asdict(row).items() if key != "attack"}
    attack = row.attack
    described = {"encoder": attack.target, "threat": attack.threat, "images": attack.images}
    described["attacker"] = attack.attacker
    return described | {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
