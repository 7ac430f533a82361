"""Predictions for images as a table, CSV and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from artfp import __version__
from artfp.data.tables import Column, csv_table, rich_table, round_significant
from artfp.passive.attributors.verdicts import (
    NONE,
    SOURCE,
    DecisionRule,
    GroupPrediction,
    SourcePrediction,
)
from artfp.passive.predict import AttributedImages

PREDICTION_COLUMNS = (
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
"""Columns of the CSV: see `artfp.passive.attributors.verdicts.SourcePrediction`."""

SHOWN_IMAGES = 20
"""Images in the table on the console, at most."""


def prediction_rows(found: AttributedImages) -> list[dict[str, Any]]:
    """Return a row for each image, by name: its prediction, or the reason why there is none."""
    rows: list[dict[str, Any]] = [
        {"name": name, "width": size[1], "height": size[0], **asdict(prediction), "error": None}
        for name, size, prediction in zip(found.names, found.sizes, found.predictions, strict=True)
    ]
    empty = dict.fromkeys(PREDICTION_COLUMNS)
    rows += [{**empty, "name": name, "error": reason} for name, reason in found.failed]
    ordered: list[dict[str, Any]] = round_significant(
        sorted(rows, key=lambda row: str(row["name"]))
    )
    return ordered


def predictions_csv(found: AttributedImages) -> str:
    """Return a line for each image, by name."""
    return csv_table(prediction_rows(found), PREDICTION_COLUMNS)


def predictions_json(
    found: AttributedImages, group: GroupPrediction | None, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the predictions for each image and for all together as JSON values."""
    return {
        "software": f"artfp {__version__}",
        **about,
        "verdicts": count_verdicts(found),
        "together": None if group is None else round_significant(asdict(group)),
        "images": prediction_rows(found),
    }


def count_verdicts(found: AttributedImages) -> dict[str, int]:
    """Return numbers of images by attributed source or other verdict, the largest first."""
    return dict(Counter(map(_verdict, found.predictions)).most_common())


def predictions_table(found: AttributedImages) -> Table:
    """Return the first images for the console."""
    columns = (
        Column("image", lambda row: row[0], wrap="fold"),
        Column("verdict", lambda row: _verdict(row[1]), wrap="fold"),
        Column("likeliest source", lambda row: row[1].source),
        Column("log ratio", lambda row: row[1].log_ratio, ".1f", "right"),
        Column("posterior", lambda row: row[1].posterior, ".3f", "right"),
        Column("p-value", lambda row: row[1].p_value, ".3f", "right"),
    )
    rows = list(zip(found.names, found.predictions, strict=True))
    return rich_table(rows[:SHOWN_IMAGES], columns)


def describe_group(group: GroupPrediction, rule: DecisionRule) -> str:
    """Return the prediction for images of one source in words, with its assumption."""
    if group.verdict == NONE:
        text = (
            f"none of these: {group.images} images of one source fit no known source; the "
            f"likeliest is {group.source}, whose own images would fit as badly with probability "
            f"{group.p_value:.2g} (level {rule.alpha:g})"
        )
    else:
        prefix = "" if group.verdict == SOURCE else "undecided: "
        text = (
            f"{prefix}{group.source}, natural log-likelihood ratio {group.log_ratio:.1f} against "
            f"the mean of the others, posterior probability {group.posterior:.4f} among the known "
            f"sources; p-value of the fit {group.p_value:.2g}"
        )
    return (
        f"{text}. Taken as independent given the source: images that share a scene or a prompt "
        "prove less."
    )


def _verdict(prediction: SourcePrediction) -> str:
    return prediction.source if prediction.verdict == SOURCE else prediction.verdict
