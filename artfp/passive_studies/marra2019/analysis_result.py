"""Input of an analysis of a study, its sources, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from artfp.passive_studies.marra2019.dependence import SourceMetadata

ALL = "all"
"""Source in the rows of all sources together."""

Row = dict[str, Any]


@dataclass(frozen=True)
class AnalysisResult:
    """Result of an analysis.

    Args:
        text: Sentences with the main figures.
        rows: Table; all rows have the same keys.
        figure: PNG file.
        shown: Rows that the page shows, if not all.
        values: Other results, as JSON values.
    """

    text: str
    rows: list[Row]
    figure: bytes
    shown: list[Row] | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceInfo:
    """Sources of real images, and metadata of the others."""

    real: tuple[str, ...]
    metadata: Mapping[str, SourceMetadata]
