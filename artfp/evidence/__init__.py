"""Hypothesis tests on decoded bits and logits, with p-values kept as natural logs.

The one assumption: the key is uniform over all words of its length and was unknown to whoever
made the image. Then, given any decoded word, the number of matching bits is Bin(bits, 1/2),
however correlated or biased the decoder's bits are, since the key alone is random. Words from a
seed, from an error-correcting code, or published before the image was made do not satisfy it.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> keys = rng.integers(0, 2, (3, 64))
    >>> logits = 2 * keys[1] - 1 + rng.normal(0, 1, (20, 64))
    >>> verdict = judge_source(weigh_source(logits, keys))
    >>> verdict.outcome, verdict.best
    ('match', 1)

- `counting`: bits that match, one image and one key; inverted words.
- `multiple`: K keys and T tries (Bonferroni); the share of images that stand alone.
- `signs`, `soft`: logits in place of bits; `log_p_soft` is the one to use.
- `source`: many images of one suspected source.
- `power`: how many images it takes.
- `health`, `calibration`, `pooled`: a decoder on clean images, and the law of a fixed key.
- `odds`, `verdict`: what may be said in the end.
"""

from artfp.evidence.calibration import Calibration
from artfp.evidence.counting import count_matches, log_p_inverted, log_p_value, minimum_matches
from artfp.evidence.health import alarms, calibrate, uneven_bits
from artfp.evidence.intervals import clopper_pearson
from artfp.evidence.multiple import Prevalence, correct, prevalence, significant
from artfp.evidence.odds import log_bayes_factor_bound, log_posterior_odds_bound
from artfp.evidence.pooled import PooledRate, pooled_rates
from artfp.evidence.power import (
    power_majority,
    power_one_image,
    power_soft,
    power_table,
    required_images,
    required_table,
)
from artfp.evidence.signs import (
    approximate_log_tail_saddle,
    log_tail,
    log_tail_hoeffding,
    log_tail_monte_carlo,
)
from artfp.evidence.soft import CLIP, clip_logits, log_p_soft
from artfp.evidence.source import SourceEvidence, majority_word, mean_logits, weigh_source
from artfp.evidence.text import format_odds, format_p
from artfp.evidence.verdict import Policy, Verdict, judge_source, judge_word

__all__ = [
    "CLIP",
    "Calibration",
    "Policy",
    "PooledRate",
    "Prevalence",
    "SourceEvidence",
    "Verdict",
    "alarms",
    "approximate_log_tail_saddle",
    "calibrate",
    "clip_logits",
    "clopper_pearson",
    "correct",
    "count_matches",
    "format_odds",
    "format_p",
    "judge_source",
    "judge_word",
    "log_bayes_factor_bound",
    "log_p_inverted",
    "log_p_soft",
    "log_p_value",
    "log_posterior_odds_bound",
    "log_tail",
    "log_tail_hoeffding",
    "log_tail_monte_carlo",
    "majority_word",
    "mean_logits",
    "minimum_matches",
    "pooled_rates",
    "power_majority",
    "power_one_image",
    "power_soft",
    "power_table",
    "prevalence",
    "required_images",
    "required_table",
    "significant",
    "uneven_bits",
    "weigh_source",
]
