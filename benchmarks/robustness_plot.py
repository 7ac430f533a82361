"""Draw docs/robustness.png from the committed results of a sweep.

python benchmarks/robustness_plot.py benchmarks/results/peers.json docs/robustness.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from artfp.perturbations.conditions import IDENTITY, choose
from artfp.reporting.figure import save_figure
from artfp.robustness.plots import plot_figure
from artfp.robustness.report import Report
from artfp.robustness.sweep import Fidelity, Sweep, SweepRow


def main(results: str, picture: str) -> None:
    """Plot the true positive rate of all methods."""
    found = json.loads(Path(results).read_text())
    rows = [
        SweepRow(**{"method" if key == "contestant" else key: row[key] for key in row})
        for row in found["rows"]  # results of version 0.1 have the other word
    ]
    fidelity = {name: Fidelity(**figures) for name, figures in found["fidelity"].items()}
    strengths: dict[str, list[float]] = {}
    for row in rows:
        values = strengths.setdefault(row.perturbation, [])
        if row.strength is not None and row.strength not in values:
            values.append(row.strength)
    del strengths[IDENTITY]
    conditions = choose(list(strengths), strengths)
    report = Report(Sweep(rows, fidelity), conditions, {}, [])
    at = f"at a false positive rate of {rows[0].fpr:g}, {rows[0].images} images"
    figure = plot_figure(
        rows, conditions, report.methods(), "tpr", f"true positive rate {at}", (0.0, 1.0)
    )
    save_figure(figure, Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
