"""Verdicts on decoded images: one for each image, and one for all together.

Records of a decoding run are taken one at a time, so that memory holds a small finding for each
image, and of their logits only the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from artfp.audit.candidates import Candidate, Candidates
from artfp.ownership.key import parse_fingerprint
from artfp.ownership.registry import RegistryEntry
from artfp.stats import (
    Policy,
    SourceEvidence,
    Verdict,
    bonferroni,
    count_matches,
    decide_image,
    decide_source,
    log_p_value,
)
from artfp.stats.multiple_testing import prevalence
from artfp.stats.pooling import CLIP, clip_logits
from artfp.stats.sign_tails import log_tail
from artfp.stats.verdict import as_inconclusive
from artfp.watermark.records import Record, unpack_logits

COMPOSITED = "transparent parts were composited over white before they were decoded"
"""Why a transparent image may carry a fingerprint all the same: its colours there are hidden."""

_CHUNK = 1024
_LEVEL = 0.01
"""False discovery rate for the images that stand out on their own."""


@dataclass(frozen=True)
class ImageFinding:
    """One image: the fingerprint nearest to it, and the verdict for this image by itself.

    The verdict's p-value is corrected for the fingerprints compared, not for the number of images.
    `agreement` (bits,) says which bits match, only where that was asked for: it is as secret as
    the fingerprint.
    """

    name: str
    size: tuple[int, int]
    """(height, width)"""
    realigned: str
    nearest: Candidate
    matches: int
    fewest: int
    verdict: Verdict
    agreement: NDArray[np.bool_] | None = None
    open_because: str = ""
    """Why the image cannot be "no match", such as its size; "" if it can."""


@dataclass(frozen=True)
class AuditResult:
    """Verdict of a detection, with the finding of each image.

    `verdict` is that of the whole: of the source, or of the best image, with its p-value corrected
    for fingerprints and images. None if no image could be read. `others` are further entries that
    match at the same level, (entry, natural log of the corrected p-value).
    """

    bits: int
    compared: int
    """Number of fingerprints that the images were compared with."""
    same_source: bool
    findings: list[ImageFinding]
    failed: list[tuple[str, str]]
    verdict: Verdict | None
    best: Candidate | None
    matches: int
    """Matches of the best: by majority over images of one source, or of the best image."""
    others: list[tuple[RegistryEntry, float]]

    @property
    def doubtful(self) -> list[ImageFinding]:
        """Findings that cannot be "no match"."""
        return [finding for finding in self.findings if finding.open_because]


def audit_records(
    records: Iterable[Record],
    names: Sequence[str],
    bits: int,
    candidates: Candidates,
    policy: Policy,
    same_source: bool = False,
    reveal: bool = False,
    doubt: Callable[[Record], str] = lambda record: "",
) -> AuditResult:
    """Decide on the records of a decoding run, one for each image (see `latest_records`).

    Each image is decided by counting bits. All of them together are decided as one source by
    `decide_source` if they are `same_source`, and else by the best image, corrected for the number
    of images too. With `reveal` the findings show which bits match. `doubt` returns why an image
    may carry no fingerprint that can be read, such as its size, or "": such an image by itself, and
    all together if there is no other, are inconclusive where it is no match.
    """
    failed: list[tuple[str, str]] = []
    findings: list[ImageFinding] = []
    common = _SourceMean(bits)
    decided: dict[tuple[int, int], Verdict] = {}
    best, best_bits = -1, np.zeros(bits, np.uint8)
    for chunk in _chunks(_read(records, failed)):
        rows = np.stack([parse_fingerprint(record["bits"], bits) for record in chunk])
        for record, decoded, (nearest, most, fewest) in zip(
            chunk, rows, candidates.compare(rows), strict=True
        ):
            if same_source:
                common.add(unpack_logits(record["logits"]), decoded)
            if (most, fewest) not in decided:
                decided[most, fewest] = _decide_image(most, fewest, bits, candidates.count, policy)
            if most > best:
                best, best_bits = most, decoded
            verdict, reason = decided[most, fewest], doubt(record)
            if reason and verdict.outcome != "match":
                verdict = as_inconclusive(verdict, reason)
            findings.append(
                ImageFinding(
                    record["name"],
                    (record["height"], record["width"]),
                    record["realigned"],
                    nearest,
                    most,
                    fewest,
                    verdict,
                    decoded == nearest.fingerprint if reveal else None,
                    reason,
                )
            )
    order = {name: i for i, name in enumerate(names)}
    findings.sort(key=lambda finding: order[finding.name])
    failed.sort(key=lambda each: order[each[0]])
    found = AuditResult(bits, candidates.count, same_source, findings, failed, None, None, 0, [])
    if not findings:
        return found
    if same_source:
        return _with_doubts(_of_source(found, common, candidates, policy))
    return _with_doubts(_of_images(found, best_bits, candidates, policy))


def _with_doubts(found: AuditResult) -> AuditResult:
    """Take "no match" back where no image, or less than half of one source, was fit for it."""
    verdict, doubts = found.verdict, found.doubtful
    if verdict is None or verdict.outcome == "match" or not doubts:
        return found
    fit = len(found.findings) - len(doubts)
    if fit == 0 or (found.same_source and fit < len(doubts)):
        reason = doubts[0].open_because
        if len(found.findings) > 1:
            count = f"{len(doubts)} of {len(found.findings)} images"
            reason = f"{count} cannot be ruled out, as {reason}"
        return replace(found, verdict=as_inconclusive(verdict, reason))
    if verdict.outcome == "inconclusive":
        return found
    limits = (
        f"It is about {fit} of {len(found.findings)} images: the others by themselves are "
        f"inconclusive. {verdict.limits}"
    )
    return replace(found, verdict=replace(verdict, limits=limits))


def keep_open(found: AuditResult, left_out: int) -> AuditResult:
    """Take "no match" back where something was not examined that may carry the fingerprint.

    Those are images that could not be read, `left_out` files of other kinds, and images whose
    transparent parts hide what lies below. Of one source they matter where they are as many as the
    images that were examined.
    """
    verdict, hidden = found.verdict, [f for f in found.findings if f.open_because == COMPOSITED]
    missing = len(found.failed) + left_out + len(hidden)
    if verdict is None or verdict.outcome != "no match" or not missing:
        return found
    if found.same_source and missing < len(found.findings) - len(hidden):
        return found
    files = "1 file was" if missing == 1 else f"{missing} files were"
    reason = f"{files} not examined (unreadable, transparent, or of a kind that is left out)"
    return replace(found, verdict=as_inconclusive(verdict, reason))


def name_search(found: AuditResult, searched: str) -> AuditResult:
    """Add to "no match" in which forms of an image the fingerprint was searched for."""
    verdict = found.verdict
    if verdict is None or verdict.outcome != "no match":
        return found
    limits = (
        f"{verdict.limits} It was searched for in {searched}; not in a picture that is part of a "
        "larger one, nor in one that was cropped, turned or stretched in other ways."
    )
    return replace(found, verdict=replace(verdict, limits=limits))


def _of_images(
    found: AuditResult, decoded: NDArray[np.uint8], candidates: Candidates, policy: Policy
) -> AuditResult:
    """Decide on images that need not belong together: is a fingerprint in any of them?

    `decoded` (bits,) are the bits of the image that matches best.
    """
    leaders, _ = candidates.rank(np.where(decoded == 1, 1.0, -1.0))
    matches = int((decoded == leaders[0].fingerprint).sum())
    fewest = min(finding.fewest for finding in found.findings)
    tests = found.compared * len(found.findings)
    verdict = _decide_image(matches, fewest, found.bits, tests, policy)
    singles = [finding.verdict.log_p_corrected for finding in found.findings]
    verdict = replace(verdict, alone=prevalence(singles, _LEVEL))
    keys = np.stack([near.fingerprint for near in leaders])
    corrected = np.asarray(bonferroni(log_p_value(count_matches(decoded, keys), found.bits), tests))
    others = _others(leaders, corrected, 0, policy)
    return replace(found, verdict=verdict, best=leaders[0], matches=matches, others=others)


def _of_source(
    found: AuditResult, common: _SourceMean, candidates: Candidates, policy: Policy
) -> AuditResult:
    """Decide on images of one source, as `evaluate_source` does with all of their logits at once.

    As the p-value of a fingerprint decreases with its statistic alone, only the best are tested.
    """
    mean, decoded = common.mean(), common.majority()
    leaders, worst = candidates.rank(mean)
    keys = np.stack([*(near.fingerprint for near in leaders), worst.fingerprint])
    held = np.where(mean < 0, -1.0, 1.0) * (2.0 * keys - 1.0)
    matches = count_matches(decoded, keys)
    singles = [finding.verdict.log_p_corrected for finding in found.findings]
    evidence = SourceEvidence(
        images=len(found.findings),
        bits=found.bits,
        tests=candidates.count,
        log_p=log_tail(np.abs(mean), held),
        log_p_inverted=log_tail(np.abs(mean), -held),
        matches=matches,
        log_p_majority=np.asarray(log_p_value(matches, found.bits)),
        alone=(prevalence(singles, _LEVEL),),
    )
    verdict = decide_source(evidence, policy)
    # The last key is the worst; where it is the best too, it is the only one.
    at = min(verdict.best, len(leaders) - 1)
    others = _others(leaders, evidence.corrected, at, policy)
    return replace(
        found, verdict=verdict, best=leaders[at], matches=int(matches[at]), others=others
    )


def _others(
    leaders: list[Candidate], corrected: NDArray[np.float64], best: int, policy: Policy
) -> list[tuple[RegistryEntry, float]]:
    """Entries besides the best that match too, of log p-values corrected for all tests."""
    return [
        (near.entry, float(log_p))
        for i, (near, log_p) in enumerate(zip(leaders, corrected, strict=False))
        if i != best and near.entry is not None and log_p <= np.log(policy.alpha)
    ]


def _decide_image(most: int, fewest: int, bits: int, tests: int, policy: Policy) -> Verdict:
    """Decide by the most and the fewest matches of all tests; of a single one they are the same."""
    return decide_image([most] if tests == 1 else [most, fewest], bits, tests, policy)


def _read(records: Iterable[Record], failed: list[tuple[str, str]]) -> Iterator[Record]:
    """The records of images that were decoded; the others are added to `failed`."""
    for record in records:
        if record.get("error") is None:
            yield record
        else:
            failed.append((record["name"], str(record["error"])))


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while chunk := list(islice(records, _CHUNK)):
        yield chunk


class _SourceMean:
    """`mean_logits` and `majority_bits` of images that come one at a time."""

    def __init__(self, bits: int) -> None:
        self._images = 0
        self._first = np.zeros(bits)
        self._moved = np.zeros(bits)
        self._ones = np.zeros(bits, np.int64)

    def add(self, logits: NDArray[np.float64], decoded: NDArray[np.uint8]) -> None:
        """Add an image: its logits and its bits, (bits,)."""
        clipped = clip_logits(logits, CLIP)
        if not self._images:
            self._first = clipped
        self._images += 1
        # Differences from the first, so that copies of one image have exactly its logits.
        self._moved += clipped - self._first
        self._ones += decoded

    def mean(self) -> NDArray[np.float64]:
        """Return the mean of the logits, (bits,)."""
        return self._first + self._moved / self._images

    def majority(self) -> NDArray[np.uint8]:
        """Return the bits of the majority of the images, (bits,); ties give 0."""
        return (2 * self._ones > self._images).astype(np.uint8)
