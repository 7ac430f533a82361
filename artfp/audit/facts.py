"""An audit as plain facts: the JSON that --json writes, and that the report shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from artfp import __version__
from artfp.audit.judge import AuditResult, ImageFinding
from artfp.ownership.commitment import utc_now
from artfp.ownership.key import to_text
from artfp.ownership.registry import RegistryEntry, RegistryState
from artfp.stats import Policy, Verdict, format_odds, format_p, minimum_matches

REPORT_KIND = "detection"
REPORT_VERSION = 1

ReportContents = dict[str, Any]


@dataclass(frozen=True)
class AuditContext:
    """What was asked, by which means: all that the images did not say. Nothing secret is in it.

    `sought` is "fingerprint", "key" or "registry". `decoder` is a JSON object with its `name`,
    `hash` and more; `calibration` one with the calibration's `file`, if one was given.
    """

    location: str
    command: str
    sought: str
    decoder: Mapping[str, object]
    policy: Policy
    registry: str | None = None
    state: RegistryState | None = None
    calibration: Mapping[str, object] | None = None
    warnings: tuple[str, ...] = ()
    time: str = field(default_factory=utc_now)


def report_contents(
    found: AuditResult, asked: AuditContext, digests: Mapping[str, str]
) -> ReportContents:
    """All of an audit as a JSON object; `digests` are SHA-256 of image files by name.

    Which bits match, and the decoded bits beside them, are told only of findings that were
    revealed: together they are the fingerprint.
    """
    registry = None
    if asked.state is not None:
        registry = {"file": asked.registry, **asdict(asked.state), "compared": found.keys}
    return {
        "artfp": REPORT_KIND,
        "version": REPORT_VERSION,
        "software": f"artfp {__version__}",
        "time": asked.time,
        "command": asked.command,
        "question": _question(found, asked.sought),
        "source": asked.location,
        "decoder": dict(asked.decoder),
        "sought": {"by": asked.sought, "fingerprints": found.keys, "registry": registry},
        "policy": asdict(asked.policy),
        "calibration": None if asked.calibration is None else dict(asked.calibration),
        "warnings": [*asked.warnings, *_warnings(found, asked)],
        "images": {"read": len(found.findings), "unreadable": len(found.failed)},
        "same_source": found.same_source,
        "bits": found.bits,
        "threshold": minimum_matches(found.bits, asked.policy.alpha / found.keys),
        "verdict": _verdict(found),
        "revealed": any(finding.agreement is not None for finding in found.findings),
        "evidence": [_evidence(each, found.bits, digests) for each in found.findings],
        "unreadable": [{"name": name, "reason": reason} for name, reason in found.failed],
    }


def table_columns(finding: ImageFinding, bits: int) -> dict[str, object]:
    """What the table of the detection says of an image; p-values are corrected for the keys."""
    entry = finding.near.entry
    log_p = finding.verdict.log_p_corrected
    return {
        "matches": finding.matches,
        "bit_accuracy": finding.matches / bits,
        "p_value": format_p(log_p),
        "log10_p": _log10(log_p),
        "verdict": finding.verdict.outcome,
        "owner": entry and entry.owner,
        "subject": entry and entry.subject,
        "entry": entry and entry.id,
    }


def _question(found: AuditResult, sought: str) -> str:
    count = len(found.findings) + len(found.failed)
    images = "this image" if count == 1 else f"these {count} images"
    what = {
        "fingerprint": "the fingerprint that was given",
        "key": "the fingerprint of the key that was given",
        "registry": f"one of the {found.keys} fingerprints in the registry"
        if found.keys > 1
        else "the one fingerprint in the registry",
    }[sought]
    if found.same_source:
        return f"Taken together, as the work of one source: do {images} carry {what}?"
    return f"Does {'this image' if count == 1 else f'any of {images}'} carry {what}?"


def _answer(found: AuditResult, verdict: Verdict) -> str:
    """The verdict in plain words."""
    entry = found.best.entry if found.best is not None else None
    which = "the fingerprint sought"
    if entry is not None:
        which = f"the fingerprint that “{entry.owner}” registered for “{entry.subject}”"
    alone = verdict.alone.significant if verdict.alone is not None else 0
    total = len(found.findings)
    if verdict.outcome == "match":
        if found.same_source and total > 1:
            return f"Yes: what these images have in common carries {which}."
        if total == 1:
            return f"Yes: the image carries {which}."
        if entry is None:
            return f"Yes: {which} is in at least one image; {alone} of {total} stand out alone."
        return (
            f"Yes: at least one image carries {which}; {alone} of {total} images stand out alone, "
            "each for the fingerprint nearest to it."
        )
    if verdict.outcome == "no match":
        nothing = "none of the fingerprints sought was found" if found.keys > 1 else ""
        return (
            f"No: {nothing or which + ' was not found'}, by a test that would have found one that "
            "can still be read."
        )
    if verdict.tampered:
        return "It stays open, and the images show signs of tampering: bits that are inverted."
    return "It stays open: these images neither show a fingerprint nor rule it out."


def _verdict(found: AuditResult) -> ReportContents | None:
    verdict = found.verdict
    if verdict is None:
        return None
    alone = verdict.alone
    return {
        "outcome": verdict.outcome,
        "answer": _answer(found, verdict),
        "explanation": verdict.explanation,
        "limits": verdict.limits,
        "tampered": verdict.tampered,
        "matches": found.matches,
        "matches_are": "by majority" if found.same_source else "of the best image",
        "log10_p": _log10(verdict.log_p),
        "log10_p_corrected": _log10(verdict.log_p_corrected),
        "p_corrected": format_p(verdict.log_p_corrected),
        "tests": verdict.tests,
        "corrected_for": _corrected_for(found),
        "power": verdict.power,
        "odds_at_most": format_odds(verdict.log_odds_at_most),
        "nearest": None if found.best is None else _public(found.best.entry),
        "others": [
            {"log10_p_corrected": _log10(log_p), **entry.public()} for entry, log_p in found.others
        ],
        "images_alone": None
        if alone is None
        else {
            "significant": alone.significant,
            "images": alone.images,
            "false_discovery_rate": alone.level,
        },
    }


def _corrected_for(found: AuditResult) -> str:
    """What the p-value of the whole was corrected for, in words."""
    keys = f"{found.keys} fingerprint{'' if found.keys == 1 else 's'}"
    images = len(found.findings)
    if found.same_source or images == 1:
        return f"{keys} compared"
    return f"{keys} x {images} images = {found.keys * images} comparisons"


def _evidence(finding: ImageFinding, bits: int, digests: Mapping[str, str]) -> ReportContents:
    verdict, entry = finding.verdict, finding.near.entry
    height, width = finding.size
    said: ReportContents = {
        "name": finding.name,
        "sha256": digests.get(finding.name),
        "width": width,
        "height": height,
        "realigned": finding.realigned,
        "matches": finding.matches,
        "bits": bits,
        "log10_p": _log10(verdict.log_p),
        "log10_p_corrected": _log10(verdict.log_p_corrected),
        "verdict": verdict.outcome,
        "tampered": verdict.tampered,
        "nearest": None if entry is None else {"id": entry.id, "owner": entry.owner},
    }
    if finding.agreement is not None:
        word = finding.near.word
        said["agreement"] = to_text(finding.agreement)
        said["decoded"] = to_text(np.where(finding.agreement, word, 1 - word))
    return said


def _warnings(found: AuditResult, asked: AuditContext) -> list[str]:
    """What the reader should know of the nearest entry."""
    entry = found.best.entry if found.best is not None else None
    said = []
    if found.verdict is None:
        said.append("No image could be read, so nothing was tested.")
    if entry is not None and entry.decoder not in (None, asked.decoder["hash"]):
        said.append("The nearest entry was registered for another decoder.")
    if entry is not None and entry.commitment is None:
        said.append(
            "The nearest entry has no commitment: nothing shows that its fingerprint was chosen "
            "before these images were made."
        )
    if found.others:
        said.append(
            f"{len(found.others)} more of the registered fingerprints match at the same level: the "
            "images do not tell which of the owners it is."
        )
    return said


def _public(entry: RegistryEntry | None) -> ReportContents | None:
    return None if entry is None else entry.public()


def _log10(log_p: float) -> float:
    return round(log_p / math.log(10.0), 4) + 0.0
