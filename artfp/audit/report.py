"""Contents of a report: the JSON that --json writes, and that the HTML page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from artfp import __version__
from artfp.audit.verdicts import AuditResult, ImageFinding
from artfp.ownership.commitment import utc_now
from artfp.ownership.key import to_text
from artfp.ownership.registry import RegistryEntry, RegistryState
from artfp.stats import Policy, Verdict, format_p, minimum_matches
from artfp.stats.formatting import format_odds

REPORT_KIND = "detection"
REPORT_VERSION = 1

ReportContents = dict[str, Any]


@dataclass(frozen=True)
class AuditContext:
    """Question and means of a detection, without anything secret.

    `compared_with` is "fingerprint", "key" or "registry". `decoder` is a JSON object with its
    `name`, `hash` and more; `calibration` one with the calibration's `file`, if one was given.
    `left_out` counts the files of the source that are no images that artfp reads, by kind.
    """

    location: str
    command: str
    compared_with: str
    decoder: Mapping[str, object]
    policy: Policy
    registry: str | None = None
    state: RegistryState | None = None
    calibration: Mapping[str, object] | None = None
    warnings: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    time: str = field(default_factory=utc_now)


def report_contents(
    audit: AuditResult, context: AuditContext, digests: Mapping[str, str | None]
) -> ReportContents:
    """Return everything about an audit as a JSON object.

    `digests` are SHA-256 of the bytes that were decoded, by name. Which bits match, and the decoded
    bits beside them, are in it only for findings that were revealed: together they are the
    fingerprint.
    """
    registry = None
    if context.state is not None:
        registry = {"file": context.registry, **asdict(context.state), "compared": audit.compared}
    return {
        "artfp": REPORT_KIND,
        "version": REPORT_VERSION,
        "software": f"artfp {__version__}",
        "time": context.time,
        "command": context.command,
        "question": _question(audit, context.compared_with),
        "source": context.location,
        "decoder": dict(context.decoder),
        "sought": {
            "by": context.compared_with,
            "fingerprints": audit.compared,
            "registry": registry,
        },
        "policy": asdict(context.policy),
        "calibration": None if context.calibration is None else dict(context.calibration),
        "warnings": [*context.warnings, *_warnings(audit, context)],
        "images": {
            "read": len(audit.findings),
            "unreadable": len(audit.failed),
            "doubtful": len(audit.doubtful),
            "left_out": dict(context.left_out),
        },
        "same_source": audit.same_source,
        "bits": audit.bits,
        "threshold": minimum_matches(audit.bits, context.policy.alpha / audit.compared),
        "verdict": _verdict(audit),
        "revealed": any(finding.agreement is not None for finding in audit.findings),
        "evidence": [_evidence(each, audit.bits, digests) for each in audit.findings],
        "unreadable": [{"name": name, "reason": reason} for name, reason in audit.failed],
    }


def table_columns(finding: ImageFinding, bits: int) -> dict[str, object]:
    """Return the columns of an image in the table; p-values are corrected for the fingerprints."""
    entry = finding.nearest.entry
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


def _question(audit: AuditResult, compared_with: str) -> str:
    count = len(audit.findings) + len(audit.failed)
    images = "this image" if count == 1 else f"these {count} images"
    what = {
        "fingerprint": "the fingerprint that was given",
        "key": "the fingerprint of the key that was given",
        "registry": f"one of the {audit.compared} fingerprints in the registry"
        if audit.compared > 1
        else "the one fingerprint in the registry",
    }[compared_with]
    if audit.same_source:
        return f"Taken together, as the work of one source: do {images} carry {what}?"
    return f"Does {'this image' if count == 1 else f'any of {images}'} carry {what}?"


def _answer(audit: AuditResult, verdict: Verdict) -> str:
    """The verdict in plain words."""
    entry = audit.best.entry if audit.best is not None else None
    which = "the fingerprint"
    if entry is not None:
        which = f"the fingerprint that “{entry.owner}” registered for “{entry.subject}”"
    alone = verdict.alone.significant if verdict.alone is not None else 0
    total = len(audit.findings)
    if verdict.outcome == "match":
        if audit.same_source and total > 1:
            return f"Yes: what these images have in common carries {which}."
        if total == 1:
            return f"Yes: the image carries {which}."
        if entry is None:
            return (
                f"Yes: at least one image carries {which}; {alone} of {total} are significant on "
                "their own."
            )
        return (
            f"Yes: at least one image carries {which}; {alone} of {total} are significant on "
            "their own, each with the fingerprint nearest to it."
        )
    if verdict.outcome == "no match":
        nothing = "none of the fingerprints was found" if audit.compared > 1 else ""
        return (
            f"No: {nothing or which + ' was not found'}, by a test that finds a fingerprint that "
            f"can still be decoded with a probability of at least {verdict.policy.power:g}."
        )
    if verdict.tampered:
        return (
            "The question stays open. Inverted bits are a sign that the images were tampered with."
        )
    return "The question stays open: the images neither show a fingerprint nor rule one out."


def _verdict(audit: AuditResult) -> ReportContents | None:
    verdict = audit.verdict
    if verdict is None:
        return None
    alone = verdict.alone
    return {
        "outcome": verdict.outcome,
        "answer": _answer(audit, verdict),
        "explanation": verdict.explanation,
        "limits": verdict.limits,
        "tampered": verdict.tampered,
        "matches": audit.matches,
        "matches_are": "by majority" if audit.same_source else "of the best image",
        "log10_p": _log10(verdict.log_p),
        "log10_p_corrected": _log10(verdict.log_p_corrected),
        "p_corrected": format_p(verdict.log_p_corrected),
        "tests": verdict.tests,
        "corrected_for": _corrected_for(audit),
        "power": verdict.power,
        "odds_at_most": format_odds(verdict.log_odds_at_most),
        "nearest": None if audit.best is None else _public(audit.best.entry),
        "others": [
            {"log10_p_corrected": _log10(log_p), **entry.public()} for entry, log_p in audit.others
        ],
        "images_alone": None
        if alone is None
        else {
            "significant": alone.significant,
            "images": alone.images,
            "false_discovery_rate": alone.level,
        },
    }


def _corrected_for(audit: AuditResult) -> str:
    """The comparisons that the p-value over all images was corrected for."""
    fingerprints = f"{audit.compared} fingerprint{'' if audit.compared == 1 else 's'}"
    images = len(audit.findings)
    if audit.same_source or images == 1:
        return f"{fingerprints} compared"
    return f"{fingerprints} x {images} images = {audit.compared * images} comparisons"


def _evidence(
    finding: ImageFinding, bits: int, digests: Mapping[str, str | None]
) -> ReportContents:
    verdict, entry = finding.verdict, finding.nearest.entry
    height, width = finding.size
    evidence: ReportContents = {
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
        "open_because": finding.open_because,
        "nearest": None if entry is None else {"id": entry.id, "owner": entry.owner},
    }
    if finding.agreement is not None:
        nearest = finding.nearest.fingerprint
        evidence["agreement"] = to_text(finding.agreement)
        evidence["decoded"] = to_text(np.where(finding.agreement, nearest, 1 - nearest))
    return evidence


def _warnings(audit: AuditResult, context: AuditContext) -> list[str]:
    """Cautions about the nearest entry."""
    entry = audit.best.entry if audit.best is not None else None
    warnings = []
    if audit.verdict is None:
        warnings.append("No image could be read, so nothing was tested.")
    if entry is not None and entry.decoder not in (None, context.decoder["hash"]):
        warnings.append("The nearest entry was registered for another decoder.")
    if entry is not None and entry.commitment is None:
        warnings.append(
            "The nearest entry has no commitment: nothing shows that its fingerprint was chosen "
            "before these images were made."
        )
    if audit.others:
        warnings.append(
            f"{len(audit.others)} more of the registered fingerprints match at the same level: the "
            "images do not tell which of the owners it is."
        )
    return warnings


def _public(entry: RegistryEntry | None) -> ReportContents | None:
    return None if entry is None else entry.public()


def _log10(log_p: float) -> float:
    return round(log_p / math.log(10.0), 4) + 0.0
