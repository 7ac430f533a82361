"""Analyses of Marra et al. 2019 (arXiv 1812.11842) on a folder of sources, in one pass."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artfp import __version__
from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive
from artfp.data.content import sources_digest
from artfp.data.files import write_atomic
from artfp.data.reading import Failed
from artfp.data.resume import Manifest
from artfp.data.sources import open_sources
from artfp.data.tables import csv_table, markdown_table, round_significant
from artfp.passive.fitting.leakage import find_leakage
from artfp.passive.residuals.extractor import load_extractor
from artfp.passive_studies.marra2019.analyses import ANALYSES
from artfp.passive_studies.marra2019.analysis_result import AnalysisResult, SourceInfo
from artfp.passive_studies.marra2019.dependence import SourceMetadata
from artfp.passive_studies.marra2019.images import SourceImages
from artfp.passive_studies.marra2019.measure import (
    MeasurementPlan,
    ResidualMeasurements,
    measure_sources,
    split_counts,
)
from artfp.passive_studies.marra2019.settings import Marra2019Settings
from artfp.passive_studies.uses import USES_FILE, ImageUse, shared_images, warn_of_shared
from artfp.perturbations.conditions import choose, parse_strengths

_log = logging.getLogger("artfp")

_FILES = "study"
_REAL = "real"
_GROUP = "group"


@dataclass(frozen=True)
class Marra2019Result:
    """Results of a study.

    Args:
        sources: Names of the sources.
        results: Result of each analysis, by name.
        left_out: Analyses that the sources do not allow, with the reasons.
        failed: Images that could not be used, with the reasons.

    Example:
        >>> Marra2019Result(("dcgan", "real"), {}, {"jpeg": "not asked for"}, []).sources
        ('dcgan', 'real')
    """

    sources: tuple[str, ...]
    results: dict[str, AnalysisResult]
    left_out: dict[str, str]
    failed: Failed


@exclusive
def marra2019_study(settings: Marra2019Settings) -> Marra2019Result:
    """Analyse the residual fingerprints of sources as Marra et al. 2019 do (arXiv 1812.11842).

    Page (study.md), JSON, CSV tables, figures, residual fingerprints and a list of what each image
    was used for (images.csv) are written into the output folder.

    Args:
        settings: Images, numbers of images, analyses, and the output folder.

    Returns:
        Results of the analyses, and images that could not be used.

    Raises:
        UserError: too few images or sources, images of several sizes, names that do not exist, or
            an analysis that was asked for and that the sources do not allow.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
        >>> for name in ("dcgan", "progan"):
        ...     (folder / "in" / name).mkdir(parents=True)
        ...     pattern = rng.normal(128, 20, (16, 16, 3))
        ...     for number in range(8):
        ...         pixels = (pattern + rng.normal(0, 10, pattern.shape)).clip(0, 255)
        ...         image = Image.fromarray(pixels.astype(np.uint8))
        ...         image.save(folder / "in" / name / f"{number}.png")
        >>> settings = Marra2019Settings(
        ...     data_dir=folder / "in", output_dir=folder / "out", extractor="gaussian",
        ...     analyses=("matrix",), cuda=-1,
        ... )
        >>> found = marra2019_study(settings)
        >>> [row["test images of"] for row in found.results["matrix"].rows]
        ['dcgan', 'progan']
    """
    output = settings.output_dir
    extractor = load_extractor(settings.extractor)
    strengths = parse_strengths(settings.strengths)
    conditions = choose(list(strengths), strengths)[1:]
    sources = open_sources(settings.data_dir)
    images = SourceImages(sources, settings.seed)
    validation, validating = _validation_images(settings, images.names)
    others = validating * (len(images.names) - 1)
    if validating and (others + 1) * settings.fpr < 1:
        raise UserError(
            f"--fpr {settings.fpr:g}: a threshold takes {1 / settings.fpr:.0f} validation images "
            f"of other sources or more; there are {others}"
        )
    info, chosen, left_out = _plan_analyses(settings, images.names)
    count, tests = split_counts(
        images, settings.images, settings.test_images, settings.validation_images
    )
    config = {
        "sources": list(images.names),
        "extractor": extractor.text,
        "images": count,
        "test_images": tests,
        "validation_images": validating,
        "validation_set": _describe_validation(settings),
        "seed": settings.seed,
    }
    Manifest.claim(output, {**config, "data_sha256": sources_digest(sources)}, _FILES)
    leakage = [str(finding) for finding in find_leakage(sources)]
    for finding in leakage:
        _log.warning("%s", finding)
    plan = MeasurementPlan(
        count,
        tests,
        tuple(dict.fromkeys(settings.jpeg)) if "jpeg" in chosen else (),
        numbers="number" in chosen,
        crops="size" in chosen,
        conditions=tuple(conditions) if "perturbed" in chosen else (),
        validation_images=validating,
        fpr=settings.fpr,
        seed=settings.seed,
    )
    measured = measure_sources(images, extractor, plan, settings.torch_device(), validation)
    uses = _checked_uses(images, validation)
    write_atomic(output / USES_FILE, csv_table(uses))
    results = {}
    for name in chosen:
        results[name] = result = ANALYSES[name].analyse(measured, info)
        write_atomic(output / f"{name}.png", result.figure)
        write_atomic(output / f"{name}.csv", csv_table(round_significant(result.rows)))
    for each in measured.fingerprints:
        each.save(output / "fingerprints" / f"{each.source}.safetensors")
    record = study_json(measured, config, leakage, results)
    write_atomic(output / f"{_FILES}.json", json.dumps(record, indent=1) + "\n")
    page = study_page(measured, extractor.text, leakage, results, left_out, config)
    write_atomic(output / f"{_FILES}.md", page)
    failed = images.failed + (validation.failed if validation else [])
    return Marra2019Result(images.names, results, left_out, failed)


def _validation_images(
    settings: Marra2019Settings, names: Sequence[str]
) -> tuple[SourceImages | None, int]:
    """Return the images of a validation folder, if there is one, and the images of each source."""
    if settings.validation_dir is None:
        return None, settings.validation_images
    found = open_sources(settings.validation_dir)
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"--validation_dir {settings.validation_dir}: no subfolder is called {missing[0]!r}; "
            f"found {', '.join(found)}"
        )
    images = SourceImages({name: found[name] for name in names}, settings.seed)
    return images, images.smallest()


def _describe_validation(settings: Marra2019Settings) -> str:
    if settings.validation_dir is not None:
        return settings.validation_dir.name
    return "drawn by the seed" if settings.validation_images else "none"


def _checked_uses(images: SourceImages, validation: SourceImages | None) -> list[ImageUse]:
    """Return the uses of all images; refuse a validation set that shares files with the others."""
    uses = images.all_uses()
    if validation is not None and (pairs := shared_images(uses, validation.uses)):
        one, other = pairs[0]
        raise UserError(
            f"--validation_dir: {other.source}/{other.image} is the same file as {one.source}/"
            f"{one.image}, used for {one.used_for} ({len(pairs)} such pairs); give other images"
        )
    warn_of_shared(uses)
    return uses + ([] if validation is None else validation.all_uses())


def _plan_analyses(
    settings: Marra2019Settings, names: Sequence[str]
) -> tuple[SourceInfo, tuple[str, ...], dict[str, str]]:
    """Return the sources' metadata, the analyses to make, and those left out with the reasons."""
    requested = tuple(ANALYSES) if settings.analyses is None else settings.analyses
    real = real_sources(names, settings.real)
    if settings.groups is None:
        metadata = groups_from_names([name for name in names if name not in real])
        groups = [tuple(each.values()) for each in metadata.values()]
        comparable = len(set(groups)) < len(groups)
    else:
        metadata, comparable = read_metadata(settings.groups, names), True
    left_out = {}
    if "real" in requested and not real:
        left_out["real"] = "no source is named as real (--real)"
    if "dependence" in requested and not comparable:
        left_out["dependence"] = (
            "no two sources have the same name before a dot, and there are no metadata (--groups)"
        )
    if settings.analyses is not None and left_out:
        name, reason = next(iter(left_out.items()))
        raise UserError(f"--analyses {name}: {reason}")
    chosen = tuple(name for name in ANALYSES if name in requested and name not in left_out)
    return SourceInfo(real, metadata), chosen, left_out


def real_sources(names: Sequence[str], requested: Sequence[str] | None) -> tuple[str, ...]:
    """Return the sources of real images; by default those whose names begin with "real".

    Raises:
        UserError: a requested one does not exist, or all sources are real.
    """
    real = requested
    if real is None:
        real = [name for name in names if name.lower().startswith(_REAL)]
    for name in real:
        if name not in names:
            raise UserError(f"--real: no source is called {name!r}; found {', '.join(names)}")
    if len(set(real)) == len(names):
        raise UserError("--real: all sources are real; real against generated needs a generator")
    return tuple(name for name in names if name in real)


def groups_from_names(names: Sequence[str]) -> dict[str, SourceMetadata]:
    """Return the group of each source: its name up to the first dot, as in dcgan.seed1."""
    return {name: {_GROUP: name.split(".")[0]} for name in names}


def read_metadata(path: Path, names: Sequence[str]) -> dict[str, SourceMetadata]:
    """Read metadata of sources: {"NAME": "GROUP"} or {"NAME": {"KEY": "VALUE", ...}}.

    Sources that the file leaves out take no part. Numbers count as text.

    Raises:
        UserError: not such a file, a name that is no source, fewer than two sources, or keys that
            not all of them have.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--groups {path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict) or len(values) < 2:
        raise UserError(f"--groups {path}: expected an object with two sources or more")
    found = {name: _source_metadata(path, name, value) for name, value in values.items()}
    first = next(iter(found))
    for name, metadata in found.items():
        if name not in names:
            raise UserError(
                f"--groups {path}: no source is called {name!r}; found {', '.join(names)}"
            )
        if set(metadata) != set(found[first]):
            raise UserError(
                f"--groups {path}: {name} has {', '.join(metadata)}, {first} has "
                f"{', '.join(found[first])}; give the same keys for all"
            )
    return found


def _source_metadata(path: Path, name: str, value: object) -> SourceMetadata:
    if isinstance(value, str):
        return {_GROUP: value}
    if isinstance(value, dict) and value:
        return {str(key): str(of) for key, of in value.items()}
    raise UserError(f"--groups {path}: {name} is {value!r}; expected a group, or values by key")


def study_json(
    measured: ResidualMeasurements,
    config: Mapping[str, Any],
    leakage: Sequence[str],
    results: Mapping[str, AnalysisResult],
) -> dict[str, Any]:
    """Return all results as JSON values, rounded."""
    height, width = measured.size
    analyses = {
        name: {"text": result.text, "rows": result.rows, **result.values}
        for name, result in results.items()
    }
    return {
        "artfp": "attribute study",
        "software": f"artfp {__version__}",
        "settings": dict(config),
        "size": f"{width}x{height}",
        "test_images": dict(zip(measured.sources, measured.test_counts, strict=True)),
        "leakage": list(leakage),
        "analyses": round_significant(analyses),
    }


def study_page(
    measured: ResidualMeasurements,
    extractor: str,
    leakage: Sequence[str],
    results: Mapping[str, AnalysisResult],
    left_out: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> str:
    """Return the page in Markdown; `config` tells the split."""
    height, width = measured.size
    about = (
        f"{len(measured.sources)} sources of {width}x{height} pixels: fingerprints of "
        f"{measured.images} images each, {min(measured.test_counts)} test images each, residuals "
        f"of {extractor}."
    )
    blocks = ["# Fingerprints of generators\n", about + "\n"]
    if config is not None:
        blocks.append(_describe_split(measured, config) + "\n")
    if leakage:
        warnings = "\n".join(f"- {finding}" for finding in leakage)
        blocks.append(
            "The files alone separate the sources, which may account for these results:\n\n"
            f"{warnings}\n"
        )
    for name, result in results.items():
        rows = result.rows if result.shown is None else result.shown
        blocks.append(page_section(ANALYSES[name].title, result.text, f"{name}.png", rows))
    if left_out:
        lines = (f"- {ANALYSES[name].title}: {reason}" for name, reason in left_out.items())
        blocks.append("Left out:\n\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)


def _describe_split(measured: ResidualMeasurements, config: Mapping[str, Any]) -> str:
    validating = "no image decides anything, so there is no validation set"
    if measured.validation is not None:
        number = min(map(len, measured.validation.values))
        origin = config["validation_set"]
        validating = f"{number} decide thresholds, the validation set ({origin})"
    return (
        f"Images of each source: {measured.images} estimate its fingerprint, {validating}, "
        f"{min(measured.test_counts)} others test. They were drawn by their names and the seed "
        f"{config['seed']}; {USES_FILE} says what each was used for."
    )


def page_section(title: str, text: str, figure: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return a heading, a text, a figure by its file's name, and a table, in Markdown."""
    return f"## {title}\n\n{text}\n\n![{title}]({figure})\n\n{markdown_table(rows)}\n"
