"""A decoder's calibration, as tables on the console."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from artfp.stats import Calibration, clopper_pearson, count_uneven_bits, pooled_rates


def health_table(found: Calibration) -> Table:
    """A row for each figure: bias and dependence of the bits, dispersion over the keys."""
    table = Table("figure", "found", "a fair decoder")
    ones = [bias.ones for bias in found.biases]
    dependence = found.dependence
    table.add_row("clean images", str(found.images), "")
    table.add_row("share of 1 in a bit", f"{min(ones):.3f} to {max(ones):.3f}", "0.5")
    table.add_row("bits surely off 0.5", f"{count_uneven_bits(found)} of {found.bits}", "0")
    table.add_row("bits that never change", str(dependence.constant), "0")
    table.add_row("effective bits", f"{dependence.effective_bits:.1f}", str(found.bits))
    if found.keys:
        spread = [key.dispersion for key in found.keys]
        low, middle, high = min(spread), float(np.median(spread)), max(spread)
        told = f"{middle:.2f}, from {low:.2f} to {high:.2f} over {len(spread)} keys"
        table.add_row("dispersion, median", told, "1")
    return table


def false_alarm_table(found: Calibration) -> Table:
    """A row for each level: what passes over all keys, with bounds, and for the worst of them."""
    table = Table()
    for header in (
        "level",
        "matches",
        "attained",
        "passed, all keys",
        "rate",
        "95% bounds",
        "worst key",
        "its rate at most",
    ):
        table.add_column(header, justify="right")
    for rate in pooled_rates(found):
        _, most = clopper_pearson(rate.worst, found.images)
        table.add_row(
            f"{rate.level:g}",
            f"{rate.threshold} of {found.bits}",
            _short(rate.attained),
            f"{rate.hits} of {rate.tests}",
            _short(rate.rate),
            f"{_short(rate.lower)} to {_short(rate.upper)}",
            f"{rate.worst} of {found.images}",
            _short(float(most)),
        )
    return table


def _short(share: float) -> str:
    return f"{share:.2g}"
