"""Verdicts: match, no match or inconclusive, with their reasons and their limits.

- Match: the p-value, corrected for all tests, is at most alpha.
- No match: the fingerprint was not found, nor anything near it, by a test that would have found it
with
  the stated power, had the bits been read at the stated accuracy or better. As such a test rejects
  that accuracy at level 1 - power, absence of evidence is evidence of absence here, and only here.
- Inconclusive: everything else. Too few bits for the power; p above alpha, but not unremarkable; a
  source in which single images carry the fingerprint; a bit string that disagrees too well.

Tampering is flagged beside the outcome: agreement surely below one half, its own test at alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
    """Rule of a verdict, fixed before the images are examined.

    Args:
        alpha: Level of a match, over all fingerprints and tries together; tampering is tested at
            the same level once more.
        power: Least probability of finding a fingerprint for "no match".
        accuracy: Bit accuracy, above 0.5, at which that probability is computed.
        remarkable: A corrected p-value at or below it is never "no match".
        prior: Probability, before the test, that one of the fingerprints is there; it changes the
            odds that are stated, not the outcome.
        independent_images: Images of a source that count for its power; 1, unless they are known to
            err independently.

    Raises:
        ValueError: a number outside its range.

    Example:
        >>> Policy(alpha=1e-6).accuracy
        0.75
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
    """Outcome with everything that it rests on; logs are natural.

    Args:
        outcome: "match", "no match" or "inconclusive".
        tampered: True if far fewer bits agree than by chance.
        log_p: Log p-value of the best comparison.
        log_p_corrected: The same, corrected for all `tests` by Bonferroni.
        log_p_tampered: Log p-value of the test for inverted bits.
        best: Position of the best comparison.
        tests: Comparisons that were made.
        power: Probability of a match at `policy.accuracy`.
        log_odds_at_most: Bound of the log odds that a fingerprint is there, at `policy.prior`.
        policy: Rule of the verdict.
        explanation: The outcome and its reason, in one sentence.
        limits: What the outcome does not prove.
        alone: Images of a source that are significant on their own, a separate result.

    Example:
        >>> decide_image([100], 100).outcome
        'match'
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
            f"With a prior probability of {prior} that a fingerprint compared is there, the odds "
            f"that it is are at most {format_odds(self.log_odds_at_most)}.",
        ]
        if self.alone is not None and self.alone.images > 1:
            parts.append(f"A separate result: {self.alone}.")
        return " ".join([*parts, self.limits])


def decide_image(
    matches: ArrayLike, bits: int, tests: int | None = None, policy: Policy | None = None
) -> Verdict:
    """Decide on one image by the number of bits that agree.

    Args:
        matches: Matching bits with every fingerprint and in every try, any shape.
        bits: Bits of a fingerprint.
        tests: All comparisons that were made, by default those in `matches`; give more where
            others were dropped.
        policy: Levels that were fixed beforehand; by default `Policy()`.

    Returns:
        The verdict; its `best` is the position in the flattened matches.

    Raises:
        ValueError: no matches, numbers that are no matches, or fewer tests than matches.

    Example:
        >>> decide_image(50, 100).outcome, decide_image([48, 97], 100).outcome
        ('no match', 'match')
    """
    policy = policy or Policy()
    found = np.asarray(matches).reshape(-1)
    if not found.size:
        raise ValueError("matches: found none, expected one for each fingerprint")
    count = found.size if tests is None else tests
    if count < found.size:
        raise ValueError(f"tests: found {count}, expected at least the {found.size} given")
    upper = np.atleast_1d(log_p_value(found, bits))
    lower = np.atleast_1d(log_p_inverted(found, bits))
    best = int(upper.argmin())
    return _verdict(
        f"{found[best]} of {bits} bits agree with the fingerprint{_of(count)}",
        float(upper[best]),
        float(lower.min()),
        best,
        count,
        power_one_image(bits, policy.accuracy, policy.alpha / count),
        policy,
        None,
    )


def decide_source(evidence: SourceEvidence, policy: Policy | None = None) -> Verdict:
    """Decide on one source, or one image with its logits, by the test of `evaluate_source`.

    The power is the smaller of those by counting and by logits. No match means that the fingerprint
    is neither in what the images share nor in any image that is significant on its own.

    Args:
        evidence: Result of `evaluate_source`.
        policy: Rule, fixed beforehand; by default `Policy()`.

    Returns:
        The verdict; its `best` is the position of the fingerprint.

    Example:
        >>> from artfp.stats.pooling import evaluate_source
        >>> rng = np.random.default_rng(0)
        >>> fingerprint = rng.integers(0, 2, 64)
        >>> logits = 2 * fingerprint - 1 + rng.normal(0, 1, (20, 64))
        >>> decide_source(evaluate_source(logits, fingerprint)).outcome
        'match'
    """
    policy = policy or Policy()
    alpha = policy.alpha / evidence.tests
    powers = [
        reach(evidence.bits, policy.accuracy, alpha, policy.independent_images)
        for reach in (power_majority, power_soft)
    ]
    best = evidence.best
    images = "1 image" if evidence.images == 1 else f"{evidence.images} images together"
    return _verdict(
        f"the decoded bits of {images}, weighed by how sure they are ({evidence.matches[best]} of "
        f"{evidence.bits} by majority), agree with the fingerprint{_of(evidence.tests)}",
        float(evidence.log_p[best]),
        float(evidence.log_p_inverted.min()),
        best,
        evidence.tests,
        min(powers),
        policy,
        max(evidence.alone, key=lambda alone: alone.significant),
    )


def _verdict(
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
        return "match", (
            f"at most {alpha}, where a match is declared: without the fingerprint, a p-value this "
            "small or smaller has a probability of at most p"
        )
    above = f"above {alpha}"
    if tampered:
        return "inconclusive", f"{above}, but far fewer bits agree than by chance"
    if log_p <= math.log(policy.remarkable):
        return "inconclusive", f"{above}, yet too small to be dismissed"
    if alone is not None and alone.significant:
        single = "at most alpha if the bits of the image are counted"
        if alone.images > 1:
            single = f"{alone.significant} of {alone.images} images are significant on their own"
        return "inconclusive", f"{above}, yet {single}"
    model = f"bits decoded with an accuracy of {policy.accuracy:g}"
    if power < policy.power:
        return "inconclusive", (
            f"{above}, and with {model} it would be found with a probability of only "
            f"{_rounded(power)}, where {policy.power:g} is required"
        )
    return "no match", (
        f"{above}, while with {model} or better it would be found with a probability of at least "
        f"{_rounded(power)}"
    )


def as_inconclusive(verdict: Verdict, reason: str) -> Verdict:
    """Return a verdict that is open for a reason that is not in the test, with the same figures."""
    more = ""
    if verdict.outcome == "inconclusive":
        more = "; besides, " + verdict.explanation.partition(": ")[2].removesuffix(".")
    explanation = f"Inconclusive: {reason}{more}."
    limits = _limits("inconclusive", verdict.policy)
    return replace(verdict, outcome="inconclusive", explanation=explanation, limits=limits)


def _limits(outcome: Outcome, policy: Policy) -> str:
    """Limits of an outcome, in a sentence or two."""
    if outcome == "match":
        return (
            "A match means that the fingerprint is present, not who put it there: fingerprints can "
            "be copied, forged and removed. It is valid if the fingerprint was drawn uniformly at "
            "random, kept secret, and fixed before the images were examined."
        )
    if outcome == "no match":
        return (
            "No match is about the fingerprints compared and this decoder: it does not rule out "
            f"another fingerprint, or one decoded with an accuracy below {policy.accuracy:g} "
            "because it was weakened or removed. It does not mean that an image is a photograph."
        )
    return "Inconclusive means neither that a fingerprint is present nor that it is absent."


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
    """Natural log of the largest odds that the fingerprint is there, given p and a prior
    probability.

    Odds of presence are at most this; odds of absence, its negative, at least. With several
    fingerprints, `prior` is that of any of them, and `log_p` the corrected one.

    Raises:
        ValueError: as `log_bayes_factor_bound`; `prior` not in 0 < prior < 1.
    """
    check_level(prior, "prior")
    return math.log(prior) - math.log1p(-prior) + log_bayes_factor_bound(log_p)
