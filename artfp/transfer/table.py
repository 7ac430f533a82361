"""Several transfer studies as one table: a row for each generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artfp.core.errors import UserError
from artfp.data.tables import Column, csv_table, markdown_table, rich_table

if TYPE_CHECKING:
    from rich.table import Table

STUDY_FILE = "transfer.json"
"""File of a study's figures."""

Interval = tuple[float, float, float]
"""Value with the ends of its interval."""


@dataclass(frozen=True)
class Family:
    """Figures of one study; what it did not measure is None.

    `mirror` is whether the generators' training mirrored images; `clean`, `other` and `random` are
    the bit accuracies of the controls; `log10_p` of 100 images, corrected for all registered
    fingerprints; `frechet` and `kernel` are the distances of the fingerprinted and of the clean
    generator, `ratio` and `kernel_ratio` the one over the other.
    """

    model: str
    resolution: int
    steps: int
    mirror: bool | None
    images: int
    psnr: float
    bit_accuracy: float
    low: float
    log10_p: float | None
    found_1: float | None
    clean: float | None
    other: float | None
    random: float | None
    frechet: Interval | None
    frechet_clean: Interval | None
    ratio: Interval | None
    kernel: Interval | None
    kernel_clean: Interval | None
    kernel_ratio: Interval | None


STUDY_COLUMNS = tuple(Family.__dataclass_fields__)


def read_family(study: str) -> Family:
    """Read the figures of a study from its folder or its transfer.json.

    Raises UserError: there is none, or it is damaged.
    """
    path = Path(study)
    path = path / STUDY_FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path}: no such file; run artfp transfer study, stage report, first")
    try:
        facts = json.loads(path.read_text())
        return _family(facts)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path}: not what a transfer study writes ({error!r})") from error


def _family(facts: dict[str, Any]) -> Family:
    last: dict[str, dict[str, Any]] = {}
    for row in facts["rows"]:
        if row["group"] not in last or row["steps"] >= last[row["group"]]["steps"]:
            last[row["group"]] = row
    own = last["fingerprinted"]
    verdicts = {verdict["images"]: verdict for verdict in own["read"]["verdicts"]}
    distances = facts.get("distances") or {}
    groups = distances.get("groups", {})

    def distance(group: str, kind: str) -> Interval | None:
        return _interval(groups[group][kind]) if group in groups else None

    def accuracy(group: str) -> float | None:
        return last[group]["read"]["bit_accuracy"] if group in last else None

    return Family(
        model=facts["model"],
        resolution=facts["resolution"],
        steps=own["steps"],
        mirror=facts.get("mirror"),
        images=own["read"]["images"],
        psnr=facts["in_data"]["psnr"],
        bit_accuracy=own["read"]["bit_accuracy"],
        low=own["read"]["low"],
        log10_p=verdicts.get(100, {}).get("log10_p_corrected"),
        found_1=verdicts.get(1, {}).get("found"),
        clean=accuracy("clean"),
        other=accuracy("other"),
        random=accuracy("random"),
        frechet=distance("fingerprinted", "frechet"),
        frechet_clean=distance("clean", "frechet"),
        ratio=_interval((distances.get("frechet") or {}).get("ratio")),
        kernel=distance("fingerprinted", "kernel"),
        kernel_clean=distance("clean", "kernel"),
        kernel_ratio=_interval((distances.get("kernel") or {}).get("ratio")),
    )


def _interval(estimate: dict[str, float] | None) -> Interval | None:
    return None if estimate is None else (estimate["value"], estimate["low"], estimate["high"])


def _interval_text(ratio: Interval) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*ratio)


def _frechet_text(family: Family) -> str:
    values = (each for each in (family.frechet, family.frechet_clean) if each is not None)
    return "" if family.frechet is None else ", ".join(f"{each[0]:.4g}" for each in values)


def _yes_or_no(mirror: bool) -> str:
    return "yes" if mirror else "no"


_SHOWN = (
    Column("generator", "model"),
    Column("px", "resolution"),
    Column("steps"),
    Column("mirrored", "mirror", _yes_or_no),
    Column("PSNR dB", "psnr", ".1f"),
    Column("bit accuracy", "bit_accuracy", ".4f"),
    Column("5%", "low", ".3f"),
    Column("log10 p, 100", "log10_p", ".1f"),
    Column("found, 1", "found_1", ".3f"),
    Column("clean", form=".3f"),
    Column("other", form=".3f"),
    Column("random", form=".3f"),
    Column("Frechet, clean", _frechet_text),
    Column("kernel ratio", "kernel_ratio", _interval_text),
)


def studies_table(families: Sequence[Family]) -> Table:
    """Return the table for the console."""
    return rich_table(families, _SHOWN, boxed=True)


def studies_markdown(families: Sequence[Family]) -> str:
    """Return the table in Markdown with an explanation of its columns."""
    about = (
        "Mirrored: whether the generators' training mirrored half of the images at random, which "
        "costs a fingerprint whose carriers are not mirror-symmetric, such as one of the "
        "published architecture, and no other; studies alike in this are compared. PSNR of the "
        "fingerprinted training images; mean bit accuracy of a generated image, and what 5% of "
        "them fall under; median log10 p-value of 100 images, corrected for 1,000,000 registered "
        "fingerprints; share of single images that are found at a level of 0.001 after that "
        "correction; bit accuracy of the controls, generators trained on clean images, on images "
        "with another fingerprint, and with one for each image; Frechet distance to clean images "
        "in EfficientNet-Lite0's features, of the fingerprinted and of the clean generator; ratio"
        " of their kernel distances, which unlike the others has no bias from the number of "
        "images, with its 95% interval."
    )
    return f"{markdown_table(families, _SHOWN)}\n\n{about}\n"


def studies_csv(families: Sequence[Family]) -> str:
    """Return a line for each generator; of intervals the value."""
    return csv_table(families, [Column(name, form=_value) for name in STUDY_COLUMNS])


def _value(cell: Any) -> Any:
    return cell[0] if isinstance(cell, tuple) else cell


def studies_json(families: Sequence[Family]) -> str:
    """Return a list of objects."""
    return json.dumps([asdict(family) for family in families], indent=2) + "\n"
