"""Verdict as part of a detection: decide on what was decoded, and write the report and the JSON."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from artfp.audit.candidates import Candidates, GivenFingerprint, RegistryEntries
from artfp.audit.report import (
    REPORT_KIND,
    AuditContext,
    ReportContents,
    report_contents,
    table_columns,
)
from artfp.audit.settings import STDOUT, DetectSettings
from artfp.audit.verdicts import (
    COMPOSITED,
    AuditResult,
    audit_records,
    keep_open,
    name_search,
)
from artfp.core.errors import UserError
from artfp.core.processes import first_process
from artfp.data.bundle import find_weights
from artfp.data.files import new_file
from artfp.data.paths import check_output
from artfp.data.sources import ImageSource, count_unexamined, left_out_of
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.registry import Registry
from artfp.stats import Policy
from artfp.watermark.calibrate import read_calibration
from artfp.watermark.decode import COMPARED_COLUMNS, OWNER_COLUMNS
from artfp.watermark.networks.base import Decoder, refuse_small
from artfp.watermark.records import Record, Records

NOT_SEARCHED = "turns, mirroring, crops and borders were not searched (--realign false)"
"""Why an image that was read as it stands may carry a fingerprint all the same."""

_log = logging.getLogger(__name__)


def verdict_columns(settings: DetectSettings) -> tuple[str, ...]:
    """Return the columns that a verdict adds to the table of the images."""
    if not settings.gives_verdict:
        return ()
    if settings.registry is None:
        return ("verdict",)
    return (*COMPARED_COLUMNS, "verdict", *OWNER_COLUMNS)


@contextmanager
def prepare_audit(
    settings: DetectSettings,
    source: ImageSource,
    given: Fingerprints | None,
    decoder: Decoder,
    digest: str,
) -> Iterator[Auditor]:
    """Prepare the verdict, and refuse what could otherwise fail only after long work."""
    bits = decoder.bits
    alpha = Policy.alpha if settings.alpha is None else settings.alpha
    prior = Policy.prior if settings.prior is None else settings.prior
    policy = Policy(alpha, prior=prior, remarkable=max(alpha, Policy.remarkable))
    if settings.report is not None:
        check_output(settings.report, "report")
    if settings.json not in (None, STDOUT):
        check_output(Path(str(settings.json)), "JSON file")
    weights = find_weights(settings.decoder_path, "decoder")
    calibration, warnings = read_calibration(
        None if settings.calibration is None else str(settings.calibration),
        weights,
        digest,
        bits,
        settings.realign,
    )
    with ExitStack() as stack:
        candidates: Candidates
        state = None
        if settings.registry is not None:
            registry = stack.enter_context(Registry(settings.registry))
            candidates = RegistryEntries(registry, bits)
            state = candidates.state
        else:
            assert given is not None
            candidates = GivenFingerprint(given.of_image(""))
        _warn(warnings)
        context = AuditContext(
            location=settings.data_dir,
            command=settings.command_line("artfp detect"),
            compared_with="registry" if state else "fingerprint" if settings.has_bits else "key",
            decoder={
                "name": settings.decoder_path,
                "hash": digest,
                "bits": bits,
                "realign": settings.realign,
                "searched": decoder.searched,
            },
            policy=policy,
            registry=None if settings.registry is None else str(settings.registry),
            state=state,
            calibration=calibration,
            warnings=tuple(warnings),
            left_out=left_out_of(source),
        )
        yield Auditor(settings, source, decoder, candidates, context)


def _warn(warnings: Sequence[str]) -> None:
    if first_process():
        for warning in warnings:
            _log.warning("warning: %s", warning)


class Auditor:
    """Decide on decoded images, and write report and JSON; keep the result."""

    def __init__(
        self,
        settings: DetectSettings,
        source: ImageSource,
        decoder: Decoder,
        candidates: Candidates,
        context: AuditContext,
    ) -> None:
        self.settings, self.source = settings, source
        self.bits, self.resolution = decoder.bits, decoder.resolution
        self.searched = decoder.searched
        self.candidates, self.context = candidates, context
        self.audit: AuditResult | None = None
        self.report: ReportContents | None = None

    def examine(self, records: Records) -> Mapping[str, Mapping[str, object]]:
        """Decide and write; return the columns that the table has of each image."""
        settings = self.settings
        audit = audit_records(
            records(),
            self.source.names,
            self.bits,
            self.candidates,
            self.context.policy,
            settings.same_source,
            settings.reveal,
            self._doubt,
        )
        audit = keep_open(audit, count_unexamined(self.source))
        audit = name_search(audit, self.searched)
        digests = {record["name"]: record.get("sha256") for record in records()}
        report = report_contents(audit, self.context, digests)
        _warn(report["warnings"][len(self.context.warnings) :])
        if settings.report is not None:
            from artfp.audit.html_report import render, thumbnails

            page = render(report, thumbnails(self.source, report))
            self._write(settings.report, "report", page)
        if settings.json not in (None, STDOUT):
            self._write(Path(str(settings.json)), "JSON file", report_json(report) + "\n")
        self.audit, self.report = audit, report
        return {each.name: table_columns(each, self.bits) for each in audit.findings}

    def _doubt(self, record: Record) -> str:
        """Return why an image cannot be "no match", or ""."""
        small = refuse_small(record["height"], record["width"], self.bits, self.resolution)
        if not small and record.get("composited"):
            return COMPOSITED
        return small or ("" if self.settings.realign else NOT_SEARCHED)

    def _write(self, path: Path, what: str, text: str) -> None:
        with new_file(path, what, overwrite=True) as file:
            file.write(text.encode("utf-8"))


def refuse_other_reports(settings: DetectSettings) -> None:
    """Refuse an output folder with a report that this run would not replace.

    Raises:
        UserError: beside the new tables it would tell of other images.
    """
    folder = settings.output_dir
    own = {os.path.realpath(path) for path in (settings.report, settings.json) if path is not None}
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
        if os.path.realpath(path) not in own and _is_report(path):
            raise UserError(
                f"{path} is the report of an earlier detection; move it away, name it again with "
                "--report or --json, or choose another output folder"
            )


def _is_report(path: Path) -> bool:
    mark = {".json": f'"artfp": "{REPORT_KIND}"', ".html": f'id="artfp-{REPORT_KIND}"'}
    wanted = mark.get(path.suffix.lower())
    try:
        return wanted is not None and wanted.encode("ascii") in path.read_bytes()
    except OSError:
        return False


def report_json(report: ReportContents) -> str:
    """Return the contents of a report as JSON in ASCII, so that any name passes any encoding."""
    return json.dumps(report, indent=1, allow_nan=False)
