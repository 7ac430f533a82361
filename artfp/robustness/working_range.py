"""Working range: the harshest strengths up to which a method works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artfp.perturbations.conditions import IDENTITY, Condition, arms
from artfp.robustness.sweep import SweepRow

LEAST = {"bit_accuracy": 0.9, "tpr": 0.99, "source_accuracy": 0.9}
"""Figures that have working ranges, with the values that they must at least have."""


@dataclass(frozen=True)
class WorkingRange:
    """Swept strengths up to which a figure holds, without a gap from the mild end.

    Unperturbed images count as the mildest strength of all.

    Args:
        method: Name of the attributor.
        perturbation: Name of the perturbation.
        figure: Name of the figure, of LEAST.
        least: Value that the figure must at least have.
        mildest: Strength next to doing nothing.
        reaches: Harshest strength of each arm up to which the figure holds (see
            `artfp.perturbations.conditions.arms`; most perturbations have one arm); None where not
            even the mildest holds.
        whole: True if the figure holds at all strengths.
    """

    method: str
    perturbation: str
    figure: str
    least: float
    mildest: float
    reaches: tuple[float | None, ...]
    whole: bool

    def __str__(self) -> str:
        """Return a short text for tables: `none`, `to 50`, `all, to 10`, `0.5 to 2`."""
        found = [reach for reach in self.reaches if reach is not None]
        if not found:
            return "none"
        if len(self.reaches) == 1:
            text = f"to {found[0]:g}"
        else:
            text = " to ".join(f"{self.mildest if r is None else r:g}" for r in self.reaches)
        return f"all, {text}" if self.whole else text


def has_figure(row: SweepRow, figure: str) -> bool:
    """Return whether a row has a figure; only rows without bits have the accuracy of the source."""
    has_it = figure != "source_accuracy" or row.bits is None
    return has_it and getattr(row, figure) is not None


def working_ranges(rows: Sequence[SweepRow], conditions: Sequence[Condition]) -> list[WorkingRange]:
    """Return the working ranges of every method, perturbation and figure of its rows."""
    by_place = {(row.method, row.perturbation, row.strength): row for row in rows}
    methods = list(dict.fromkeys(row.method for row in rows))
    perturbations = {c.group: c.perturbation for c in conditions if c.perturbation is not None}
    found = []
    for name, perturbation in perturbations.items():
        strengths = [c.strength for c in conditions if c.group == name and c.strength is not None]
        for method in methods:
            for figure, least in LEAST.items():
                first = by_place[method, IDENTITY, None]
                if not has_figure(first, figure):
                    continue
                start = getattr(first, figure)
                reaches: list[float | None] = []
                whole = start >= least
                for arm in arms(perturbation, strengths):
                    reach, holds = None, start >= least
                    for strength in arm:
                        value = getattr(by_place[method, name, strength], figure)
                        holds = holds and value >= least
                        reach = strength if holds else reach
                    reaches.append(reach)
                    whole = whole and holds
                facts = (method, name, figure, least, perturbation.mildest)
                found.append(WorkingRange(*facts, tuple(reaches), whole))
    return found
