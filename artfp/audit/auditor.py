"""An audit as part of a detection: judge what was decoded, and write the report and the JSON."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artfp.audit.candidates import Candidates
from artfp.audit.facts import AuditContext, ReportContents, report_contents, table_columns
from artfp.audit.judge import (
    AuditResult,
    audit_records,
)
from artfp.data.decode import ImageError
from artfp.data.files import new_file
from artfp.data.sources import ImageSource
from artfp.watermark.records import (
    Records,
)

STDOUT = "-"
_SECRET = "***"


@dataclass
class Auditor:
    """Judges the records of a detection and writes what was asked for.

    It is `DecodingJob.examine`; afterwards `audit` and `facts` hold the result. `report` and
    `json` are files, or none; JSON goes to standard output for "-". With `reveal` both are secret,
    and readable by their owner alone.
    """

    source: ImageSource
    bits: int
    sought: Candidates
    asked: AuditContext
    same_source: bool = False
    reveal: bool = False
    report: Path | None = None
    json: str | None = None
    audit_records: AuditResult | None = field(default=None, init=False)
    facts: ReportContents | None = field(default=None, init=False)

    def __call__(self, records: Records) -> Mapping[str, Mapping[str, object]]:
        """Judge and write; what the table of the detection says of each image."""
        names, policy = self.source.names, self.asked.policy
        found = audit_records(
            records(), names, self.bits, self.sought, policy, self.same_source, self.reveal
        )
        written = self.report is not None or self.json is not None
        facts = report_contents(found, self.asked, self._digests(found) if written else {})
        if self.report is not None:
            from artfp.audit.html_report import render, thumbnails

            page = render(facts, thumbnails(self.source, facts))
            self._write(self.report, "report", page)
        if self.json == STDOUT:
            print(_text(facts))
        elif self.json is not None:
            self._write(Path(self.json), "JSON file", _text(facts) + "\n")
        self.audit, self.facts = found, facts
        return {each.name: table_columns(each, self.bits) for each in found.findings}

    def _digests(self, found: AuditResult) -> dict[str, str]:
        """SHA-256 of the files that were read, as they are now."""
        wanted = {finding.name for finding in found.findings}
        digests = {}
        for position, name in enumerate(self.source.names):
            if name in wanted:
                try:
                    digests[name] = hashlib.sha256(self.source.read(position)).hexdigest()
                except ImageError:  # it went away: the report is of what was decoded
                    continue
        return digests

    def _write(self, path: Path, what: str, text: str) -> None:
        with new_file(path, what, secret=self.reveal, overwrite=True) as file:
            file.write(text.encode("utf-8"))


def _text(facts: ReportContents) -> str:
    """JSON in ASCII, so that any name passes through any encoding."""
    return json.dumps(facts, indent=1, allow_nan=False)


def shown_command(argv: Sequence[str]) -> str:
    """The command line as one would type it, without a fingerprint that stands in it.

    Options that --config gives as text, not as a file, are left out whole.
    """
    shown = ["artfp", "detect"]
    hidden = ""
    for word in argv:
        name, equals, value = word.partition("=")
        if hidden:
            shown.append(word if hidden == "--config" and Path(word).is_file() else _SECRET)
            hidden = ""
        elif name in ("--fingerprint", "--config") and not equals:
            shown.append(word)
            hidden = name
        elif name == "--fingerprint" or (name == "--config" and not Path(value).is_file()):
            shown.append(f"{name}={_SECRET}")
        else:
            shown.append(word)
    return shlex.join(shown)
