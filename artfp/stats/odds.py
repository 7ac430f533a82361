"""What a p-value is worth at most, as a Bayes factor.

A p-value is not the probability that the key is absent. Sellke, Bayarri and Berger 2001: for
p < 1/e the Bayes factor of presence against absence is at most 1 / (-e p ln p), whatever prior one
has on how present the key may be, over alternatives under which p has a density proportional to
p^(x-1), 0 < x <= 1 (more generally, -log p a decreasing hazard rate). It is a bound, so that the
odds are "at most" so high; and it is a bound over that class: an alternative that is a single
point, such as "all bits agree for certain", can reach 1 / p, which no alternative exceeds by much.
"""

from __future__ import annotations

import math

from artfp.stats.multiple_testing import check_level, check_log_p


def log_bayes_factor_bound(log_p: float) -> float:
    """Natural log of the largest Bayes factor for presence: -1 - log p - log(-log p), at least 0.

    0, for a factor of 1, where p is 1/e or more: such a p-value speaks for nothing.

    Raises:
        ValueError: `log_p` is above 0, infinite or not a number.
    """
    value = float(check_log_p(log_p))
    return -1.0 - value - math.log(-value) if value < -1.0 else 0.0


def log_posterior_odds_bound(log_p: float, prior: float) -> float:
    """Natural log of the largest odds that the key is there, given p and a prior probability.

    Odds of presence are at most this; odds of absence, its negative, at least. With several keys,
    `prior` is that of any of them, and `log_p` the corrected one.

    Raises:
        ValueError: as `log_bayes_factor_bound`; `prior` not in 0 < prior < 1.
    """
    check_level(prior, "prior")
    return math.log(prior) - math.log1p(-prior) + log_bayes_factor_bound(log_p)
