"""The analyses of Marra et al. 2019 (1812.11842) on a folder of sources, in one pass."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from artfp import __version__
from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.files import write_atomic
from artfp.data.reading import Failed
from artfp.data.resume import Manifest
from artfp.data.sources import (
    open_sources,
)
from artfp.data.tables import csv_table, markdown_table, round_significant
from artfp.passive.fitting.leakage import find_leakage
from artfp.passive.residuals.extractor import load_extractor
from artfp.passive_studies.marra2019.analyses import Kinship, Part
from artfp.passive_studies.marra2019.images import (
    Images,
)
from artfp.passive_studies.marra2019.measure import Measured, Wanted, measure, split
from artfp.passive_studies.marra2019.passive_analyses import ANALYSES
from artfp.passive_studies.marra2019.passive_groups import (
    facts_by_name,
    kin,
    read_facts,
    real_sources,
)

log = logging.getLogger(__name__)

FILES = "study"


@dataclass(frozen=True)
class Study:
    """What is asked."""

    folder: Path
    """With a subfolder of images for each source."""
    output: Path
    extractor: str
    images: int | None = None
    """That estimate a fingerprint; by default 512 where all have 1000, else half of the least."""
    test_images: int | None = None
    """Of each source; by default as many as the smallest source has left."""
    analyses: tuple[str, ...] | None = None
    """By default all that the sources allow."""
    qualities: tuple[int, ...] = (95,)
    """Of JPEG."""
    real: tuple[str, ...] | None = None
    """Sources of real images; by default those whose names begin with "real"."""
    groups: Path | None = None
    """A JSON file of facts on the sources; by default their names tell groups."""
    seed: int = 0
    device: str | torch.device = "cpu"


@dataclass(frozen=True)
class Done:
    """What came of a study."""

    parts: dict[str, Part]
    left_out: dict[str, str]
    """Analyses that the sources do not allow, with the reasons."""
    failed: Failed


def run(study: Study) -> Done:
    """Measure, analyse, and write page, JSON, CSV, pictures and fingerprints to the output.

    Raises UserError: too few images or sources, images of several sizes, names that are not there,
    or an analysis that was asked for and that the sources do not allow.
    """
    extractor = load_extractor(study.extractor)
    sources = open_sources(study.folder)
    images = Images(sources, study.seed)
    kinship, chosen, left_out = _plan(study, images.names)
    count, tests = split(images, study.images, study.test_images)
    settings = {
        "sources": list(images.names),
        "extractor": extractor.text,
        "images": count,
        "test_images": tests,
        "seed": study.seed,
    }
    Manifest.claim(study.output, settings, FILES)
    tells = [str(finding) for finding in find_leakage(sources)]
    for tell in tells:
        log.warning("%s", tell)
    wanted = Wanted(
        count,
        tests,
        study.qualities if "jpeg" in chosen else (),
        numbers="number" in chosen,
        crops="size" in chosen,
    )
    with Progress("Measuring", (count + tests) * len(images.names)) as progress:
        measured = measure(images, extractor, wanted, study.device, progress.advance)
    parts = {}
    for name in chosen:
        parts[name] = part = ANALYSES[name].make(measured, kinship)
        write_atomic(study.output / f"{name}.png", part.picture)
        write_atomic(study.output / f"{name}.csv", csv_table(round_significant(part.rows)))
    for each in measured.fingerprints:
        each.save(study.output / "fingerprints" / f"{each.source}.safetensors")
    facts = _facts(measured, settings, tells, parts)
    write_atomic(study.output / f"{FILES}.json", json.dumps(facts, indent=1) + "\n")
    write_atomic(study.output / f"{FILES}.md", _page(measured, facts, tells, parts, left_out))
    return Done(parts, left_out, images.failed)


def _plan(study: Study, names: Sequence[str]) -> tuple[Kinship, tuple[str, ...], dict[str, str]]:
    """What is known of the sources, which analyses are done, and which are not, and why."""
    asked = tuple(ANALYSES) if study.analyses is None else study.analyses
    for name in asked:
        if name not in ANALYSES:
            raise UserError(f"--analyses: found {name!r}; choose from {', '.join(ANALYSES)}")
    real = real_sources(names, study.real)
    if study.groups is None:
        facts = facts_by_name([name for name in names if name not in real])
        known = kin(facts)
    else:
        facts, known = read_facts(study.groups, names), True
    left_out = {}
    if "real" in asked and not real:
        left_out["real"] = "no source is named as real (--real)"
    if "dependence" in asked and not known:
        left_out["dependence"] = (
            "no two sources have the same name before a dot, and nothing else is told (--groups)"
        )
    if study.analyses is not None and left_out:
        name, reason = next(iter(left_out.items()))
        raise UserError(f"--analyses {name}: {reason}")
    chosen = tuple(name for name in ANALYSES if name in asked and name not in left_out)
    return Kinship(real, facts), chosen, left_out


def _facts(
    measured: Measured, settings: dict[str, Any], tells: list[str], parts: dict[str, Part]
) -> dict[str, Any]:
    height, width = measured.size
    analyses = {
        name: {"text": part.text, "rows": part.rows, **part.figures} for name, part in parts.items()
    }
    return {
        "artfp": "attribute study",
        "software": f"artfp {__version__}",
        "settings": settings,
        "size": f"{width}x{height}",
        "tested": dict(zip(measured.sources, measured.tested, strict=True)),
        "files_tell": tells,
        "analyses": round_significant(analyses),
    }


def _page(
    measured: Measured,
    facts: dict[str, Any],
    tells: list[str],
    parts: dict[str, Part],
    left_out: dict[str, str],
) -> str:
    about = (
        f"{len(measured.sources)} sources of {facts['size']} pixels: fingerprints of "
        f"{measured.images} images each, {min(measured.tested)} test images each, residuals of "
        f"{facts['settings']['extractor']}."
    )
    blocks = ["# Fingerprints of generators\n", about + "\n"]
    if tells:
        warnings = "\n".join(f"- {tell}" for tell in tells)
        blocks.append(
            f"The files alone tell sources apart, and the figures may show that:\n\n{warnings}\n"
        )
    for name, part in parts.items():
        rows = part.rows if part.shown is None else part.shown
        blocks.append(section(ANALYSES[name].title, part.text, f"{name}.png", rows))
    if left_out:
        lines = (f"- {ANALYSES[name].title}: {reason}" for name, reason in left_out.items())
        blocks.append("Left out:\n\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)


def section(title: str, text: str, picture: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return a heading, a text, a picture by its file's name, and a table, in Markdown."""
    return f"## {title}\n\n{text}\n\n![{title}]({picture})\n\n{markdown_table(rows)}\n"
