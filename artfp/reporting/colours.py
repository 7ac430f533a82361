"""How lines of plots are told apart."""

from __future__ import annotations

from typing import Any

OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
"""Colours that colour-blind readers can tell apart as well (Okabe and Ito 2008)."""

CHANCE: dict[str, Any] = {
    "color": "#888888",
    "linewidth": 0.8,
    "linestyle": (0, (1, 2)),
    "zorder": 1,
}
"""The line of what guesses reach."""
