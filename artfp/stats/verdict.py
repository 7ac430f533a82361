"""The verdict: match, no match or inconclusive, with what it rests on and what it does not say.

- Match: the p-value, corrected for all tests, is at most alpha.
- No match: the key was not found, nor anything near it, by a test that would have found it with
  the stated power, had the bits been read at the stated accuracy or better. As such a test rejects
  that accuracy at level 1 - power, absence of evidence is evidence of absence here, and only here.
- Inconclusive: everything else. Too few bits for the power; p above alpha, but not unremarkable; a
  source in which single images carry the key; a word that disagrees too well.

Tampering is flagged beside the outcome: agreement surely below one half, its own test at alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from artfp.stats.binomial import log_p_inverted, log_p_value
from artfp.stats.formatting import format_odds, format_p
from artfp.stats.multiple_testing import Prevalence, bonferroni, check_level, check_log_p
from artfp.stats.pooling import SourceEvidence
from artfp.stats.power import power_majority, power_one_image, power_soft

Outcome = Literal["match", "no match", "inconclusive"]


@dataclass(frozen=True)
class Policy:
    """What is decided before the images are looked at.

    `alpha`: level of a match, over all keys and tries together; tampering is tested at the same
    level once more. `power` and `accuracy`: what "no match" takes. `remarkable`: a corrected
    p-value at or below it is never "no match". `prior`: probability, before the test, that one of
    the keys is there; it changes the odds that are stated, not the outcome. `independent_images`:
    as many images of a source count for its power; 1, unless they are known to err apart.

    Raises ValueError: a number outside its range.
    """

    alpha: float = 1e-4
    power: float = 0.9
    accuracy: float = 0.75
    remarkable: float = 0.01
    prior: float = 0.01
    independent_images: int = 1

    def __post_init__(self) -> None:
        for name in ("alpha", "power", "remarkable", "prior"):
            check_level(getattr(self, name), name)
        if not 0.5 < self.accuracy <= 1:
            raise ValueError(f"accuracy: found {self.accuracy}, expected 0.5 < accuracy <= 1")
        if self.remarkable < self.alpha:
            raise ValueError(f"remarkable: found {self.remarkable}, below alpha = {self.alpha}")
        if self.independent_images < 1:
            raise ValueError(f"independent images: found {self.independent_images}")


@dataclass(frozen=True)
class Verdict:
    """An outcome with everything that it rests on; logs are natural.

    `log_p` is that of the `best` of `tests` comparisons, `log_p_corrected` after Bonferroni;
    `power` is the probability of a match at `policy.accuracy`. `log_odds_at_most` bounds the
    posterior odds that a key is there (see `odds`), at `policy.prior`. `explanation` is one plain
    sentence, `limits` says what the outcome does not prove. `alone` are the images of a source
    that are significant on their own, a claim beside the verdict.
    """

    outcome: Outcome
    tampered: bool
    log_p: float
    log_p_corrected: float
    log_p_tampered: float
    best: int
    tests: int
    power: float
    log_odds_at_most: float
    policy: Policy
    explanation: str
    limits: str
    alone: Prevalence | None = None

    def __str__(self) -> str:
        prior = f"{self.policy.prior:g}"
        parts = [
            self.explanation,
            f"With a prior probability of {prior} that a key sought is there, the odds that it is "
            f"are at most {format_odds(self.log_odds_at_most)}.",
        ]
        if self.alone is not None and self.alone.images > 1:
            parts.append(f"A claim apart: {self.alone}.")
        return " ".join([*parts, self.limits])


def decide_image(
    matches: ArrayLike, bits: int, tests: int | None = None, policy: Policy | None = None
) -> Verdict:
    """Judge one image by the bits that agree: `matches` with every key and in every try, any shape.

    `tests` counts all comparisons that were made, by default those in `matches`; give more where
    others were dropped. `best` is the position in the flattened matches.

    Raises:
        ValueError: no matches, numbers that are no matches, or fewer tests than matches.
    """
    policy = policy or Policy()
    found = np.asarray(matches).reshape(-1)
    if not found.size:
        raise ValueError("matches: found none, expected one for each key")
    count = found.size if tests is None else tests
    if count < found.size:
        raise ValueError(f"tests: found {count}, expected at least the {found.size} given")
    upper = np.atleast_1d(log_p_value(found, bits))
    lower = np.atleast_1d(log_p_inverted(found, bits))
    best = int(upper.argmin())
    return _judge(
        f"{found[best]} of {bits} bits agree with the key{_of(count)}",
        float(upper[best]),
        float(lower.min()),
        best,
        count,
        power_one_image(bits, policy.accuracy, policy.alpha / count),
        policy,
        None,
    )


def decide_source(evidence: SourceEvidence, policy: Policy | None = None) -> Verdict:
    """Judge one source, or one image with its logits, by the test of `evaluate_source`.

    The power is the smaller of those by counting and by soft evidence. No match says that the
    key is not in what the images share, and in none that stands out on its own.
    """
    policy = policy or Policy()
    alpha = policy.alpha / evidence.tests
    powers = [
        reach(evidence.bits, policy.accuracy, alpha, policy.independent_images)
        for reach in (power_majority, power_soft)
    ]
    best = evidence.best
    images = "1 image" if evidence.images == 1 else f"{evidence.images} images together"
    return _judge(
        f"the decoded bits of {images}, weighed by how sure they are ({evidence.matches[best]} of "
        f"{evidence.bits} by majority), agree with the key{_of(evidence.tests)}",
        float(evidence.log_p[best]),
        float(evidence.log_p_inverted.min()),
        best,
        evidence.tests,
        min(powers),
        policy,
        max(evidence.alone, key=lambda alone: alone.significant),
    )


def _judge(
    finding: str,
    log_p: float,
    log_p_tampered: float,
    best: int,
    tests: int,
    power: float,
    policy: Policy,
    alone: Prevalence | None,
) -> Verdict:
    """Decide, and say why."""
    corrected = bonferroni(log_p, tests)
    tampered = bonferroni(log_p_tampered, tests) <= math.log(policy.alpha)
    outcome, reason = _decide(corrected, tampered, power, policy, alone)
    p = f"p = {format_p(corrected)}" + (f" after correction for {tests} tests" if tests > 1 else "")
    limits = _limits(outcome, policy)
    if tampered:
        limits += (
            " Agreement far below one half is as unlikely by chance as agreement far above "
            f"(p = {format_p(bonferroni(log_p_tampered, tests))}): the fingerprint "
            "seems to be there with its bits inverted, a sign of tampering, not of absence."
        )
    return Verdict(
        outcome=outcome,
        tampered=tampered,
        log_p=log_p,
        log_p_corrected=corrected,
        log_p_tampered=log_p_tampered,
        best=best,
        tests=tests,
        power=power,
        log_odds_at_most=log_posterior_odds_bound(corrected, policy.prior),
        policy=policy,
        explanation=f"{outcome.capitalize()}: {finding}, {p}, {reason}.",
        limits=limits,
        alone=alone,
    )


def _decide(
    log_p: float, tampered: bool, power: float, policy: Policy, alone: Prevalence | None
) -> tuple[Outcome, str]:
    """The outcome, and the end of the sentence that explains it."""
    alpha = f"alpha = {policy.alpha:g}"
    if log_p <= math.log(policy.alpha):
        return "match", f"which chance alone reaches with a probability of at most {alpha}"
    above = f"above {alpha}"
    if tampered:
        return "inconclusive", f"{above}, but they disagree far too well for chance"
    if log_p <= math.log(policy.remarkable):
        return "inconclusive", f"{above}, yet too small to be passed over"
    if alone is not None and alone.significant:
        single = f"{alone.significant} of {alone.images} images stand out on their own"
        return "inconclusive", (
            f"{above}, yet {single if alone.images > 1 else 'not if its bits are counted'}"
        )
    model = f"bits read at an accuracy of {policy.accuracy:g}"
    if power < policy.power:
        return "inconclusive", (
            f"{above}, and with {model} it would be found with a probability of only "
            f"{_rounded(power)}, where {policy.power:g} is asked for"
        )
    return "no match", (
        f"{above}, while with {model} or better it would be found with a probability of at least "
        f"{_rounded(power)}"
    )


def _limits(outcome: Outcome, policy: Policy) -> str:
    """What an outcome does not prove."""
    if outcome == "match":
        return (
            "A match says that the key is present, not who put it there: fingerprints can be "
            "copied, forged and removed. It holds if the key was drawn uniformly, kept secret, "
            "and fixed before the images were looked at."
        )
    if outcome == "no match":
        return (
            "No match speaks of the keys sought and of this decoder: another key, or one read at "
            f"an accuracy below {policy.accuracy:g}, weakened or removed on purpose, is not ruled "
            "out. It does not say that an image is a photograph."
        )
    return "Inconclusive says neither that a key is present nor that it is absent."


def _of(tests: int) -> str:
    return "" if tests == 1 else f" that fits best of {tests} comparisons"


def _rounded(power: float) -> str:
    """A probability rounded down to two places, so that "at least" holds."""
    return f"{math.floor(power * 100) / 100:g}"


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
