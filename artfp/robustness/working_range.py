"""How far each contestant goes with each perturbation: the working range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artfp.perturbations.conditions import IDENTITY, Condition, arms
from artfp.robustness.sweep import Row

LEAST = {"bit_accuracy": 0.9, "tpr": 0.99, "source_accuracy": 0.9}
"""Figures of which working ranges are told, and what they must at least be."""


@dataclass(frozen=True)
class WorkingRange:
    """Up to which swept strengths a figure holds, without a gap from the mild end.

    `reaches` has the harshest such strength of each arm (see `sweep_conditions.arms`; most
    perturbations have one), or None where not even the mildest holds. `whole`: all strengths hold.
    Unperturbed images count as the mildest strength of all; `mildest` is the strength that comes
    next to doing nothing.
    """

    contestant: str
    perturbation: str
    figure: str
    least: float
    mildest: float
    reaches: tuple[float | None, ...]
    whole: bool

    def __str__(self) -> str:
        """In a few letters, for tables: `none`, `to 50`, `all, to 10`, `0.5 to 2`."""
        found = [reach for reach in self.reaches if reach is not None]
        if not found:
            return "none"
        if len(self.reaches) == 1:
            text = f"to {found[0]:g}"
        else:
            text = " to ".join(f"{self.mildest if r is None else r:g}" for r in self.reaches)
        return f"all, {text}" if self.whole else text


def has_figure(row: Row, figure: str) -> bool:
    """Whether a figure is told of a row; the accuracy of the source, of those that read no bits."""
    told = figure != "source_accuracy" or row.bits is None
    return told and getattr(row, figure) is not None


def working_ranges(rows: Sequence[Row], conditions: Sequence[Condition]) -> list[WorkingRange]:
    """Working ranges of every contestant, perturbation and figure of LEAST that its rows have."""
    by_place = {(row.contestant, row.perturbation, row.strength): row for row in rows}
    contestants = list(dict.fromkeys(row.contestant for row in rows))
    perturbations = {c.group: c.perturbation for c in conditions if c.perturbation is not None}
    found = []
    for name, perturbation in perturbations.items():
        strengths = [c.strength for c in conditions if c.group == name and c.strength is not None]
        for contestant in contestants:
            for figure, least in LEAST.items():
                first = by_place[contestant, IDENTITY, None]
                if not has_figure(first, figure):
                    continue
                start = getattr(first, figure)
                reaches: list[float | None] = []
                whole = start >= least
                for arm in arms(perturbation, strengths):
                    reach, holds = None, start >= least
                    for strength in arm:
                        value = getattr(by_place[contestant, name, strength], figure)
                        holds = holds and value >= least
                        reach = strength if holds else reach
                    reaches.append(reach)
                    whole = whole and holds
                facts = (contestant, name, figure, least, perturbation.mildest)
                found.append(WorkingRange(*facts, tuple(reaches), whole))
    return found
