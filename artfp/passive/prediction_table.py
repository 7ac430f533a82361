"""Judgements of images as a table, CSV and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from artfp import __version__
from artfp.core.errors import one_line
from artfp.data.tables import csv_line, round_significant
from artfp.passive.attributors.verdicts import (
    NONE,
    SOURCE,
    DecisionRule,
    GroupPrediction,
    SourcePrediction,
)
from artfp.passive.predict import AttributedImages

COLUMNS = (
    "name",
    "width",
    "height",
    "source",
    "log_ratio",
    "posterior",
    "p_value",
    "verdict",
    "error",
)
"""Columns of the CSV: see `artfp.passive.attributors.verdicts.Judgement`."""

SHOWN = 20
"""Images in the table on the console, at most."""


def prediction_rows(found: AttributedImages) -> list[dict[str, Any]]:
    """Images by name with their judgements, or with the reason why there is none."""
    rows: list[dict[str, Any]] = [
        {"name": name, "width": size[1], "height": size[0], **asdict(judgement), "error": None}
        for name, size, judgement in zip(found.names, found.sizes, found.judgements, strict=True)
    ]
    empty = dict.fromkeys(COLUMNS)
    rows += [{**empty, "name": name, "error": reason} for name, reason in found.failed]
    ordered: list[dict[str, Any]] = round_significant(
        sorted(rows, key=lambda row: str(row["name"]))
    )
    return ordered


def predictions_csv(found: AttributedImages) -> str:
    """A line for each image."""
    lines = [csv_line(row[column] for column in COLUMNS) for row in prediction_rows(found)]
    return csv_line(COLUMNS) + "".join(lines)


def predictions_json(
    found: AttributedImages, group: GroupPrediction | None, about: Mapping[str, Any]
) -> dict[str, Any]:
    """What was asked, each image, and the judgement of all together, as JSON values."""
    return {
        "software": f"artfp {__version__}",
        **about,
        "verdicts": count_verdicts(found),
        "together": None if group is None else round_significant(asdict(group)),
        "images": prediction_rows(found),
    }


def count_verdicts(found: AttributedImages) -> dict[str, int]:
    """How many images have which source or other verdict, the most first."""
    counts: dict[str, int] = {}
    for each in found.judgements:
        vote = each.source if each.verdict == SOURCE else each.verdict
        counts[vote] = counts.get(vote, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def predictions_table(found: AttributedImages) -> Table:
    """The first images for the console."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("image", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for head in ("likeliest source", "log ratio", "posterior", "p-value"):
        table.add_column(head, justify="left" if head == "likeliest source" else "right")
    for name, each in list(zip(found.names, found.judgements, strict=True))[:SHOWN]:
        verdict = each.source if each.verdict == SOURCE else each.verdict
        words = (Text(one_line(word)) for word in (name, verdict, each.source))
        table.add_row(*words, *_figures(each))
    return table


def describe_group(group: GroupPrediction, rules: DecisionRule) -> str:
    """The judgement of images of one source, with what it rests on."""
    if group.verdict == NONE:
        said = (
            f"none of these: {group.images} images of one source fit no known source; the "
            f"likeliest is {group.source}, whose own images would fit as badly with probability "
            f"{group.p_value:.2g} (level {rules.alpha:g})"
        )
    else:
        sure = "" if group.verdict == SOURCE else "undecided: "
        said = (
            f"{sure}{group.source}, natural log-likelihood ratio {group.log_ratio:.1f} against the "
            f"mean of the others, posterior probability {group.posterior:.4f} among the known "
            f"sources; p-value of the fit {group.p_value:.2g}"
        )
    return (
        f"{said}. Taken as independent given the source: images that share a scene or a prompt "
        "prove less."
    )


def _figures(each: SourcePrediction) -> tuple[str, str, str]:
    return f"{each.log_ratio:.1f}", f"{each.posterior:.3f}", f"{each.p_value:.3f}"
