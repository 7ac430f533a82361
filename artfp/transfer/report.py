"""The reports of a transfer study, and of images from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor

from artfp import __version__
from artfp.data.bundle import find_decoder, find_weights, read_card
from artfp.data.files import file_hash, write_atomic
from artfp.data.geometry import Geometry
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, load_images
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.ownership.assignment import Fingerprints
from artfp.reporting.figure import save_figure
from artfp.reporting.image_grid import encode_picture
from artfp.transfer import transfer as pages
from artfp.transfer.decoded import REGISTERED, InData, Row, decode_source, transferred
from artfp.transfer.distances import Distances, distances_of, study_distances
from artfp.transfer.results import read_all
from artfp.transfer.study import CLEAN, FINGERPRINTED, Study, claim
from artfp.watermark import load_decoder

_SHOWN = 32


@dataclass(frozen=True)
class Shown:
    """What goes to the console: a table, and lines after it."""

    table: Table
    lines: tuple[str, ...] = ()


def report(study: Study, decoder: str | None = None, distances: bool = True) -> Shown:
    """Stage report: read what was generated, compare it with the data, write all files.

    Raises UserError: a stage before this one has not been run.
    """
    data, rows = read_all(study, claim(study), decoder)
    apart = study_distances(study) if distances else None
    lines = _lines(data, rows, apart)
    output, name = study.output, study.training.model
    title = f"{name}, {study.training.size}, {study.resolution} px"
    about = (
        f"{title}: trained for {max(row.steps for row in rows)} steps on {len(study.source())} "
        f"images of {Path(study.training.data_dirs[-1]).name}, fingerprinted with "
        f"{Path(study.encoder).name} at strength {study.strength:g}."
    )
    write_atomic(output / "transfer.csv", pages.to_csv(rows))
    write_atomic(output / "transfer.md", pages.to_markdown(data, rows, about, lines))
    save_figure(pages.plot_progress(rows, title), output / "progress.png")
    write_atomic(output / "samples.png", encode_picture(_samples(study)))
    write_atomic(
        output / "transfer.json",
        json.dumps(_facts(study, decoder, data, rows, apart), indent=2) + "\n",
    )
    return Shown(pages.to_table(pages.last_rows(rows)), (*lines, f"all of it in {output}"))


def _facts(
    study: Study, decoder: str | None, data: InData, rows: Sequence[Row], apart: Distances | None
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
        "config": card["config"],
        "images": len(study.source()),
        "data": [Path(folder).name for folder in training.data_dirs],
        "encoder": file_hash(find_weights(study.encoder, "encoder")),
        "decoder": file_hash(find_weights(decoder or find_decoder(study.encoder), "decoder")),
        "strength": study.strength,
        "registered": REGISTERED,
        "in_data": asdict(data),
        "rows": [asdict(row) for row in rows],
        "distances": apart and asdict(apart),
    }


def _lines(data: InData, rows: Sequence[Row], apart: Distances | None) -> list[str]:
    """What the table does not say."""
    (last,) = [row for row in pages.last_rows(rows) if row.group == FINGERPRINTED]
    verdict = last.read.verdicts[-1]
    lines = [
        f"In the data: bit accuracy {data.read.bit_accuracy:.4f} at {data.psnr:.2f} dB.",
        f"{verdict.images} generated images against {REGISTERED:,} registered fingerprints: "
        f"log10 p {verdict.log10_p_corrected:.1f}, corrected for all of them; found in "
        f"{verdict.found:.0%} of {verdict.groups} groups at a level of {verdict.alpha:g}.",
    ]
    return [*lines, *(apart.lines() if apart else [])]


def _samples(study: Study) -> Tensor:
    """What the clean and the fingerprinted generator make of the same draws."""
    groups = [group for group in (CLEAN, FINGERPRINTED) if group in study.groups]
    blocks = []
    for group in groups:
        folder = study.made(group, max(study.snapshots(group)))
        pixels, _ = load_images(open_source(folder), Geometry(), _SHOWN)
        blocks.append(to_unit(pixels))
    return pages.side_by_side(blocks)


def read_elsewhere(
    images: str,
    decoder_path: str,
    word: Fingerprints,
    real: str | None = None,
    limit: int | None = None,
    output: str | None = None,
) -> tuple[Shown, Failed]:
    """Read images of a generator that was trained elsewhere; figures also to a JSON file."""
    decoder, _ = load_decoder(decoder_path)
    source = limit_images(open_source(images), limit)
    logits, failed = decode_source(decoder, source)
    row = Row(Path(images).name, 0, transferred(logits, word.of_image("")))
    apart = None
    if real is not None:
        pixels, _ = load_images(source, Geometry(), 1)
        apart = distances_of(open_source(real), {Path(images).name: source}, pixels.shape[-1])
    if output is not None:
        facts = {
            "artfp": "transfer read",
            "software": f"artfp {__version__}",
            "decoder": file_hash(find_weights(decoder_path, "decoder")),
            "registered": REGISTERED,
            **asdict(row.read),
            "distances": apart and asdict(apart),
        }
        write_atomic(Path(output), json.dumps(facts, indent=2) + "\n")
    return Shown(pages.to_table([row]), tuple(apart.lines() if apart else ())), failed
