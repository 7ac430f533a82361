"""Robustness sweep from settings: images and methods to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive
from artfp.data.geometry import Geometry
from artfp.data.paths import file_hash
from artfp.data.reading import Failed
from artfp.data.sources import ImageSource, open_source, open_sources
from artfp.data.train_module import split_names
from artfp.nn.autoencoder_weights import autoencoder_hashes, load_latent_autoencoder
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE, load_attributor
from artfp.perturbations import Latent, known_perturbations
from artfp.perturbations.conditions import Condition, choose, parse_strengths
from artfp.robustness.methods import load_method, load_reader
from artfp.robustness.report import Report
from artfp.robustness.settings import RobustnessSettings
from artfp.robustness.study import (
    Refuses,
    RobustnessStudy,
    SweepImages,
    SweepOptions,
    already_marked,
    joined,
    labelled,
    least_of,
    marked_by,
    option_settings,
    run_study,
)


@exclusive
def robustness_sweep(settings: RobustnessSettings) -> Report:
    """Measure watermark methods and attributors under perturbations of growing strength.

    An interrupted sweep goes on with what is in the output folder.

    Args:
        settings: Images, methods, perturbations, and the false positive rate of the test.

    Returns:
        A row for each method, perturbation and strength, with fidelity and working ranges.

    Raises:
        UserError: an unknown method or perturbation, images that cannot be used, or an output
            folder of another sweep.

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
        ...     settings = RobustnessSettings(
        ...         data_dir=str(photos),
        ...         output_dir=Path(folder),
        ...         methods=("cifar32",),
        ...         perturbations=("mirror",),
        ...     )
        ...     rows = robustness_sweep(settings).sweep.rows
        >>> [(row.method, row.perturbation, row.images) for row in rows]
        [('cifar32', 'identity', 2), ('cifar32', 'mirror', 2)]
    """
    conditions = _conditions(settings)
    study, failed = _study(settings)
    options = SweepOptions(
        conditions, settings.fpr, settings.seed, settings.batch_size, settings.output_dir
    )
    found = run_study(study, options)
    config = {**study.open_settings(), **option_settings(options)}
    example = next(iter(study.sets[0].samples())).pixels
    return Report(found, conditions, config, failed, example)


def _conditions(settings: RobustnessSettings) -> list[Condition]:
    names = None if settings.perturbations == ("all",) else settings.perturbations
    known = known_perturbations()
    if settings.latent_autoencoder is not None:
        latent = Latent(load_latent_autoencoder(settings.latent_autoencoder))
        known = {**known, latent.name: latent}
        names = None if names is None else (*names, latent.name)
    try:
        strengths = parse_strengths(settings.strengths) if settings.strengths else {}
    except UserError as error:
        raise UserError(f"--strengths: {error}") from error
    return choose(names, strengths, known)


def _study(settings: RobustnessSettings) -> tuple[RobustnessStudy, Failed]:
    """All that is swept, and the images that cannot be used."""
    found = []
    if settings.marked_dir is not None:
        found.append(_decoded_only(settings, settings.marked_dir))
    elif settings.data_dir is not None:
        found.append(_marked_by_all(settings, settings.data_dir))
    if settings.attributor is not None and settings.labelled_dir is not None:
        found.append(_attributed(settings, settings.attributor, settings.labelled_dir))
    study = joined([study for study, _ in found])
    if settings.latent_autoencoder is not None:
        hashes = {"latent_autoencoder": autoencoder_hashes(settings.latent_autoencoder)}
        study = RobustnessStudy(study.sets, {**study.settings, **hashes})
    return study, [each for _, failed in found for each in failed]


def _marked_by_all(settings: RobustnessSettings, data_dir: str) -> tuple[RobustnessStudy, Failed]:
    """Originals that every method marks."""
    methods = [load_method(name, settings.strength) for name in settings.methods or ("photo128",)]
    source = open_source(data_dir)
    originals = _read(settings, source, least_of(methods), "reading originals")
    return marked_by(methods, originals, settings.seed), list(originals.failed.items())


def _decoded_only(settings: RobustnessSettings, marked_dir: str) -> tuple[RobustnessStudy, Failed]:
    """Images that are marked already, and perhaps others without the fingerprint."""
    reader = load_reader(settings.decoder_path or "photo128")
    given = settings.given_fingerprints(reader.bits)
    assert given is not None  # the settings refuse --marked_dir without one
    marked = _read(settings, open_source(marked_dir), None, "reading marked images")
    unmarked = None
    if settings.data_dir is not None:
        source = open_source(settings.data_dir)
        unmarked = _read(settings, source, None, "reading unmarked images")
    study = already_marked(reader, given.of_image(""), given.identity(), marked, unmarked)
    failed = [*marked.failed.items(), *(unmarked.failed.items() if unmarked else ())]
    return study, failed


def _attributed(
    settings: RobustnessSettings, places: tuple[str, ...], labelled_dir: Path
) -> tuple[RobustnessStudy, Failed]:
    """Labelled images whose source attributors predict."""
    attributors: dict[str, Attributor] = {}
    for part in places:
        label, equals, place = part.partition("=")
        if not equals or Path(part).exists():
            label, place = "", part
        attributor = load_attributor(place.strip(), label.strip() or None)
        path = Path(place.strip())
        attributors[file_hash(path / ATTRIBUTOR_FILE if path.is_dir() else path)] = attributor

    def refuses(height: int, width: int) -> str | None:
        policies = (getattr(attributor, "policy", None) for attributor in attributors.values())
        reasons = (policy.refuses(height, width) for policy in policies if policy is not None)
        return next((reason for reason in reasons if reason), None)

    images = {
        name: _read(settings, source, refuses, f"reading images of {name}")
        for name, source in open_sources(labelled_dir).items()
    }
    failed = [
        (f"{name}/{image}", reason)
        for name, each in images.items()
        for image, reason in each.failed.items()
    ]
    return labelled(attributors, images), failed


def _read(
    settings: RobustnessSettings, source: ImageSource, refuses: Refuses | None, caption: str
) -> SweepImages:
    """The images of a source that the settings choose."""
    every = list(range(len(source)))
    indices = split_names(source.names)[1] if settings.validation_only else every
    indices = indices[: settings.limit]
    geometry = Geometry(settings.image_resolution)
    # Passive attribution reads images as the sensor or the generator has them.
    more: dict[str, Any] = {} if refuses is None else {"refuses": refuses, "orientation": False}
    return SweepImages(source, indices, geometry, settings.output_dir, caption=caption, **more)
