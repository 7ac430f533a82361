"""Reports of a transfer study, and of images from elsewhere: tables, JSON and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor
from torchvision.utils import make_grid

from artfp import __version__
from artfp.data.bundle import find_decoder, find_weights, read_card
from artfp.data.files import write_atomic
from artfp.data.geometry import Geometry
from artfp.data.paths import file_hash
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, load_images
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.data.tables import Column, csv_table, markdown_table, rich_table
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, figure_style, format_axes, save_figure
from artfp.reporting.image_grid import encode_picture, name_strip
from artfp.transfer.decoded import (
    COUNTS,
    REGISTERED,
    InData,
    TransferRow,
    decode_source,
    transferred,
)
from artfp.transfer.distances import TransferDistances, measure_distances, study_distances
from artfp.transfer.results import read_all
from artfp.transfer.settings import DecodeGeneratedSettings
from artfp.transfer.study import CLEAN, FINGERPRINTED, TransferStudy, claim_output
from artfp.watermark import load_decoder, load_encoder

_SAMPLES = 32
"""Images of each generator in the picture of samples."""

TRANSFER_COLUMNS = (
    "group",
    "steps",
    "images",
    "bit_accuracy",
    "error",
    "low",
    "high",
    "majority",
    *(f"log10_p_{count}" for count in COUNTS),
    *(f"log10_p_{count}_corrected" for count in COUNTS),
    *(f"found_{count}" for count in COUNTS),
)
_SIZE = (7.2, 3.6)  # inches
_A_ROW = 8


@dataclass(frozen=True)
class Shown:
    """Output for the console: a table, and lines after it."""

    table: Table
    lines: tuple[str, ...] = ()


def report(
    study: TransferStudy,
    decoder: str | None = None,
    distances: bool = True,
    realign: bool = True,
) -> Shown:
    """Decode what was generated, compare it with the data, and write all files.

    Raises UserError: a stage before this one has not been run.
    """
    data, rows = read_all(study, claim_output(study), decoder, realign)
    apart = study_distances(study) if distances else None
    mirror = _mirrors(study)
    lines = [*_lines(data, rows, apart), *mirror_lines(study.encoder, mirror, study.decoder)]
    output, name = study.output, study.training.model
    title = f"{name}, {study.training.size}, {study.resolution} px"
    about = (
        f"{title}: trained for {max(row.steps for row in rows)} steps on {len(study.source())} "
        f"images of {Path(study.training.data_dirs[-1]).name}, "
        f"{'half' if mirror else 'none'} of them mirrored, fingerprinted with "
        f"{Path(study.encoder).name} at strength {study.strength:g}."
    )
    write_atomic(output / "transfer.csv", transfer_csv(rows))
    write_atomic(output / "transfer.md", transfer_markdown(data, rows, about, lines))
    save_figure(plot_progress(rows, title), output / "progress.png")
    write_atomic(output / "samples.png", encode_picture(_samples(study)))
    write_atomic(
        output / "transfer.json",
        json.dumps(_facts(study, decoder, realign, data, rows, apart), indent=2) + "\n",
    )
    return Shown(transfer_table(last_rows(rows)), (*lines, f"all of it in {output}"))


def _mirrors(study: TransferStudy) -> bool:
    """Return whether the training of the study's generators mirrored images, by their cards."""
    snapshots = study.snapshots(FINGERPRINTED)
    training = read_card(snapshots[max(snapshots)]).get("training", {})
    return bool(training.get("mirror", study.training.mirror))


def mirror_lines(encoder: str, mirror: bool, decoder: str | None = None) -> list[str]:
    """Say what mirroring does to weights that are not indifferent to it."""
    if not mirror or load_encoder(encoder, decoder=decoder)[0].architecture == "residual":
        return []
    return [
        "The training mirrored half of the images, and the carriers of these weights need not be "
        "mirror-symmetric: the generator then learns the fingerprint and its mirror image. Compare "
        "with a study with --mirror false."
    ]


def _facts(
    study: TransferStudy,
    decoder: str | None,
    realign: bool,
    data: InData,
    rows: Sequence[TransferRow],
    apart: TransferDistances | None,
) -> dict[str, Any]:
    training = study.training
    snapshots = study.snapshots(FINGERPRINTED)
    card = read_card(snapshots[max(snapshots)])
    return {
        "artfp": "transfer",
        "software": f"artfp {__version__}",
        "model": training.model,
        "size": training.size,
        "resolution": study.resolution,
        "steps": max(snapshots),
        "seed": training.seed,
        "batch_size": study.plan.batch_size,
        "mirror": _mirrors(study),
        "config": card["config"],
        "images": len(study.source()),
        "data": [Path(folder).name for folder in training.data_dirs],
        "encoder": file_hash(find_weights(study.encoder, "encoder")),
        "decoder": file_hash(find_weights(decoder or find_decoder(study.encoder), "decoder")),
        "realign": realign,
        "strength": study.strength,
        "registered": REGISTERED,
        "in_data": asdict(data),
        "rows": [asdict(row) for row in rows],
        "distances": apart and asdict(apart),
    }


def _lines(data: InData, rows: Sequence[TransferRow], apart: TransferDistances | None) -> list[str]:
    """Return the figures that are not in the table."""
    (last,) = [row for row in last_rows(rows) if row.group == FINGERPRINTED]
    verdict = last.read.verdicts[-1]
    lines = [
        f"In the data: bit accuracy {data.read.bit_accuracy:.4f} at {data.psnr:.2f} dB.",
        f"{verdict.images} generated images against {REGISTERED:,} registered fingerprints: "
        f"log10 p {verdict.log10_p_corrected:.1f}, corrected for all of them; found in "
        f"{verdict.found:.0%} of {verdict.groups} groups at a level of {verdict.alpha:g}.",
    ]
    return [*lines, *(apart.lines() if apart else [])]


def _samples(study: TransferStudy) -> Tensor:
    """Return images that the clean and the fingerprinted generator make of the same draws."""
    groups = [group for group in (CLEAN, FINGERPRINTED) if group in study.groups]
    blocks = {}
    for group in groups:
        folder = study.made(group, max(study.snapshots(group)))
        pixels, _ = load_images(open_source(folder), Geometry(), _SAMPLES)
        blocks[f"trained on {group}"] = to_unit(pixels)
    return side_by_side(blocks)


def decode_generated(settings: DecodeGeneratedSettings) -> tuple[Shown, Failed]:
    """Decode images of a generator that was trained elsewhere; write the figures as JSON.

    Args:
        settings: Images, decoder, fingerprint, and perhaps the training images.

    Returns:
        A table and lines for the console, and the images that could not be used.

    Raises:
        UserError: no image can be used, or the fingerprint has another length.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> draws = np.random.default_rng(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     photos = Path(folder, "photos")
        ...     photos.mkdir()
        ...     for i in range(2):
        ...         pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        ...         Image.fromarray(pixels).save(photos / f"{i}.png")
        ...     settings = DecodeGeneratedSettings(
        ...         data_dir=str(photos), decoder_path="transfer32", fingerprint="0123456789abcdef"
        ...     )
        ...     shown, failed = decode_generated(settings)
        >>> shown.table.row_count, failed
        (1, [])
    """
    decoder, _ = load_decoder(settings.decoder_path, settings.realign)
    fingerprints = settings.given_fingerprints(decoder.bits)
    assert fingerprints is not None  # the settings refuse it
    source, name = limit_images(open_source(settings.data_dir), settings.limit), settings.data_dir
    logits, failed = decode_source(decoder, source)
    row = TransferRow(Path(name).name, 0, transferred(logits, fingerprints.of_image("")))
    apart = None
    if settings.real is not None:
        pixels, _ = load_images(source, Geometry(), 1)
        apart = measure_distances(
            open_source(settings.real), {Path(name).name: source}, pixels.shape[-1]
        )
    if settings.output is not None:
        facts = {
            "artfp": "transfer read",
            "software": f"artfp {__version__}",
            "decoder": file_hash(find_weights(settings.decoder_path, "decoder")),
            "realign": settings.realign,
            "registered": REGISTERED,
            **asdict(row.read),
            "distances": apart and asdict(apart),
        }
        write_atomic(settings.output, json.dumps(facts, indent=2) + "\n")
    return Shown(transfer_table([row]), tuple(apart.lines() if apart else ())), failed


def flat_row(row: TransferRow) -> dict[str, Any]:
    """Return a row by TRANSFER_COLUMNS; numbers of images that were not reached are None."""
    read = row.read
    cells: dict[str, Any] = {"group": row.group, "steps": row.steps, "images": read.images}
    for name in ("bit_accuracy", "error", "low", "high", "majority"):
        cells[name] = round(getattr(read, name), 6)
    for count in COUNTS:
        verdict = read.on(count)
        cells[f"log10_p_{count}"] = verdict and round(verdict.log10_p, 3)
        cells[f"log10_p_{count}_corrected"] = verdict and round(verdict.log10_p_corrected, 3)
        cells[f"found_{count}"] = verdict and round(verdict.found, 4)
    return {name: cells[name] for name in TRANSFER_COLUMNS}


def transfer_csv(rows: Sequence[TransferRow]) -> str:
    """Return a line for each row."""
    return csv_table(map(flat_row, rows), TRANSFER_COLUMNS)


def last_rows(rows: Sequence[TransferRow]) -> list[TransferRow]:
    """Return the row of the most steps of each group, in the order of the groups."""
    found: dict[str, TransferRow] = {}
    for row in rows:
        if row.group not in found or row.steps > found[row.group].steps:
            found[row.group] = row
    return list(found.values())


def _log10_p(row: TransferRow, count: int) -> float | None:
    verdict = row.read.on(count)
    return None if verdict is None else verdict.log10_p


_CONSOLE = (
    Column("training images", "group"),
    Column("steps"),
    Column("bit accuracy", "read.bit_accuracy", ".4f"),
    Column("5% to 95%", lambda row: f"{row.read.low:.3f} to {row.read.high:.3f}"),
    Column(
        "majority", lambda row: f"{round(row.read.majority * row.read.bits)} of {row.read.bits}"
    ),
    *(Column(f"log10 p, {count}", partial(_log10_p, count=count), ".1f") for count in COUNTS),
)


def transfer_table(rows: Sequence[TransferRow]) -> Table:
    """Return the table for the console."""
    return rich_table(rows, _CONSOLE, boxed=True)


def transfer_markdown(
    data: InData, rows: Sequence[TransferRow], about: str, more: Sequence[str] = ()
) -> str:
    """Return the last row of each group as a Markdown table with an explanation.

    `about` says what was studied; `more` are further paragraphs.
    """
    paragraphs = [
        about,
        f"The fingerprinted images read {data.read.bit_accuracy:.4f} at {data.psnr:.2f} dB. Of the "
        "generators' images: mean bit accuracy, what 5% and 95% of the images fall under, right "
        "bits of the mean logits, and the median log10 p-value of the one fingerprint over groups "
        f"of {', '.join(map(str, COUNTS))} images (not corrected).",
    ]
    return "\n\n".join([*paragraphs, markdown_table(last_rows(rows), _CONSOLE), *more]) + "\n"


@figure_style
def plot_progress(rows: Sequence[TransferRow], title: str) -> Figure:
    """Plot bit accuracy against steps of training, a line for each group.

    The band holds the middle 90% of the images.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    panel = figure.subplots()
    for number, group in enumerate(dict.fromkeys(row.group for row in rows)):
        own = sorted((row for row in rows if row.group == group), key=lambda row: row.steps)
        steps = [row.steps for row in own]
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        accuracies = [row.read.bit_accuracy for row in own]
        panel.plot(steps, accuracies, label=group, color=colour, marker="o")
        bounds = [row.read.low for row in own], [row.read.high for row in own]
        panel.fill_between(steps, *bounds, color=colour, alpha=0.13, linewidth=0)
    panel.axhline(0.5, **CHANCE_LINE)
    panel.set_ylim(min(0.35, panel.get_ylim()[0]), 1.005)
    panel.set_xlim(left=0)
    panel.set_title(title)
    format_axes(
        panel, "steps of the generator's training", "bit accuracy (band: 5% to 95% of images)"
    )
    figure.legend(title="trained on", loc="outside right upper")
    return figure


def side_by_side(groups: Mapping[str, Tensor]) -> Tensor:
    """Return images (N, 3, R, R) in [0, 1] of groups as a picture (3, h, w), a block for each.

    The name of each stands above it.
    """
    blocks = []
    for name, images in groups.items():
        columns = min(_A_ROW, math.ceil(len(images) / 2))
        block = make_grid(images, nrow=columns, padding=2, pad_value=1.0)
        blocks.append(torch.cat([name_strip(name, block.shape[2]), block], dim=1))
    gap = torch.ones(3, blocks[0].shape[1], 12)
    parts = [part for block in blocks for part in (gap, block)]
    return torch.cat(parts[1:], dim=2)
