"""Attributors from folders of sources: read the images, fit or train, write the attributor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive, lock_folder
from artfp.data.files import write_atomic
from artfp.data.reading import Failed
from artfp.data.sources import ImageSource, open_sources
from artfp.passive.attributors.bundle import save_attributor
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.baselines import find_baseline, fit_baseline
from artfp.passive.fitting.card import describe_fit
from artfp.passive.fitting.classifier import (
    CALIBRATION_GROUPS,
    load_initial_network,
    network_side,
    train_classifier,
)
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.leakage import Leakage, warn_of_leakage
from artfp.passive.fitting.select import (
    PLAIN_METHOD,
    FitOptions,
    FitResult,
    TrialJournal,
    fit_methods,
)
from artfp.passive.fitting.visnet import VISNET_SUMMARY, fit_visnet
from artfp.passive.settings import (
    FitAttributorSettings,
    FitBaselineSettings,
    TrainAttributorSettings,
    TrainVisNetSettings,
)
from artfp.passive.training.classifier_fit import classifier_design


@dataclass(frozen=True)
class AttributorFit(FitResult):
    """A fitted attributor that was written to a folder.

    Attributes:
        images: Number of images it was fitted to, without recompressed copies.
        leakage: Properties of the files by which the sources can be told apart.
        failed: Images that could not be used, with the reasons.
        files: Names of the files that were written.
    """

    images: int = 0
    leakage: tuple[Leakage, ...] = ()
    failed: Failed = ()  # type: ignore[assignment]
    files: tuple[str, ...] = ()


@exclusive
def fit_attributor(settings: FitAttributorSettings) -> AttributorFit:
    """Fit an attributor to a folder of sources, and write it.

    All methods are fitted, and the best on held-out images is kept. A run that was stopped goes on
    where it stopped.

    Args:
        settings: Images, method, decision rule, device and output folder.

    Returns:
        The attributor, and the results of all choices on held-out images.

    Raises:
        UserError: images too few or too small, or settings that exclude each other.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
        >>> for name, level in (("bright", 180), ("dark", 60)):
        ...     (folder / "sources" / name).mkdir(parents=True)
        ...     for number in range(40):
        ...         pixels = (level + 9 * rng.standard_normal((8, 8, 3))).astype(np.uint8)
        ...         Image.fromarray(pixels).save(folder / "sources" / name / f"{number}.png")
        >>> settings = FitAttributorSettings(
        ...     data_dir=folder / "sources", output_dir=folder / "out", cuda=-1,
        ...     method="matched", extractor="gaussian:sigma=1", recompress=False)
        >>> found = fit_attributor(settings)
        >>> found.chosen, found.images, found.files
        ('matched', 80, ('attributor.safetensors', 'attributor.json'))
    """
    device, output = settings.torch_device(), settings.output_dir
    options = FitOptions(settings.method, settings.extractor, settings.rule, device)
    sources = open_sources(settings.data_dir)
    leakage = warn_of_leakage(sources)
    names = ("policy", "window", "method", "extractor", "recompress", "limit", "seed")
    card = {name: getattr(settings, name) for name in names}
    with ImageSet(
        sources,
        policy=settings.policy,
        window=settings.window,
        limit=settings.limit,
        recompress=settings.recompress and settings.method != PLAIN_METHOD,
        seed=settings.seed,
        folder=output,
    ) as image_set:
        journal = TrialJournal(output, {"sources": image_set.digest, **card})
        found = fit_methods(image_set, options, output.resolve().name, journal)
        written = _write(image_set, found, leakage, card, output)
        journal.remove()
    return written


@exclusive
def fit_baseline_attributor(settings: FitBaselineSettings) -> AttributorFit:
    """Fit a baseline of Yu et al. 2019 to a folder of sources, and write it.

    Args:
        settings: Images, kind, decision rule, device and output folder.

    Returns:
        The attributor, and its results on held-out images.

    Raises:
        UserError: an unknown kind, images too few or too small, or too many components.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
        >>> for name, level in (("bright", 180), ("dark", 60)):
        ...     (folder / "sources" / name).mkdir(parents=True)
        ...     for number in range(40):
        ...         pixels = (level + 9 * rng.standard_normal((8, 8, 3))).astype(np.uint8)
        ...         Image.fromarray(pixels).save(folder / "sources" / name / f"{number}.png")
        >>> settings = FitBaselineSettings(
        ...     data_dir=folder / "sources", output_dir=folder / "out", kind="nearest", cuda=-1)
        >>> fit_baseline_attributor(settings).validation.accuracy
        1.0
    """
    output, description = settings.output_dir, find_baseline(settings.kind)
    sources = open_sources(settings.data_dir)
    leakage = warn_of_leakage(sources)
    names = ("window", "limit", "seed", "kind", "components")
    card = {name: getattr(settings, name) for name in names}
    with _aligned(sources, settings, settings.window) as image_set:
        found = fit_baseline(
            image_set,
            settings.kind,
            components=settings.components,
            rule=settings.rule,
            name=output.resolve().name,
            device=settings.torch_device(),
        )
        return _write(image_set, found, leakage, card, output, description)


@exclusive
def train_attributor(settings: TrainAttributorSettings) -> AttributorFit | None:
    """Train a classifier on a folder of sources, calibrate it, and write it as an attributor.

    Args:
        settings: Images, network, training, decision rule, device and output folder.

    Returns:
        The attributor, and its results on held-out images; None on all processes but the first.

    Raises:
        UserError: images too few or too small, settings that exclude each other, or another
            training in the output folder.

    Example:
        >>> settings = TrainAttributorSettings(data_dir="dumps", output_dir="out", max_steps=500)
        >>> train_attributor(settings)  # takes minutes
        Traceback (most recent call last):
        artfp.core.errors.UserError: dumps: cannot be read: No such file or directory
    """
    output = settings.output_dir
    sources = open_sources(settings.data_dir)
    init = None
    if settings.init is not None:
        init = load_initial_network(settings.init, tuple(sources))
    side = settings.window
    if side is None and init is not None:
        side = init.network.design.resolution  # type: ignore[assignment]
    if side is not None:
        classifier_design(settings, side, init)  # before images are read: it may raise
    leakage = warn_of_leakage(sources)
    with _squares(sources, settings, side, lambda s: classifier_design(settings, s)) as image_set:
        name = output.resolve().name
        with _held_out(settings, image_set) as held_out:
            found = train_classifier(image_set, settings, settings.rule, name, held_out, init)
        if found is None:
            return None
        card = _training_card(settings)
        about = f"{found.chosen} network, after Yu et al. 2019"
        more = {"method": f"network {found.chosen}"}
        return _write(image_set, found, leakage, card, output, about, more, CALIBRATION_GROUPS)


@exclusive
def train_visnet_attributor(settings: TrainVisNetSettings) -> AttributorFit:
    """Train a visualisation network on a folder of sources, and write it with its evidence.

    Args:
        settings: Images, network, training, decision rule, device and output folder.

    Returns:
        The attributor, and its results on held-out images.

    Raises:
        UserError: images too few or too small, or another training in the output folder.

    Example:
        >>> settings = TrainVisNetSettings(data_dir="dumps", output_dir="out", max_steps=500)
        >>> train_visnet_attributor(settings)  # takes minutes
        Traceback (most recent call last):
        artfp.core.errors.UserError: dumps: cannot be read: No such file or directory
    """
    from artfp.passive.visnet_report import evidence_files

    output = settings.output_dir
    sources = open_sources(settings.data_dir)
    leakage = warn_of_leakage(sources)
    with _squares(sources, settings, settings.window) as image_set:
        name = output.resolve().name
        with _held_out(settings, image_set) as held_out:
            found, evidence = fit_visnet(image_set, settings, settings.rule, name, held_out)
        written = _write(
            image_set, found, leakage, _training_card(settings), output, VISNET_SUMMARY
        )
    files = evidence_files(evidence)
    for file, content in files.items():
        write_atomic(output / file, content)
    return replace(written, files=(*written.files, *files))


@contextmanager
def _held_out(
    settings: TrainAttributorSettings | TrainVisNetSettings, image_set: ImageSet
) -> Iterator[float | ImageSet]:
    """Give the fraction that is held out, or the images of the validation folder.

    Raises UserError: the folder lacks a source, or shares a file with the image set.
    """
    if settings.validation_dir is None:
        yield settings.held_out
        return
    folder, found = settings.validation_dir, open_sources(settings.validation_dir)
    if missing := [name for name in image_set.sources if name not in found]:
        raise UserError(
            f"--validation_dir {folder}: no subfolder is called {missing[0]!r}; "
            f"found {', '.join(found)}"
        )
    chosen = {name: found[name] for name in image_set.sources}
    with _aligned(chosen, settings, image_set.policy.window[0]) as validation:
        known = dict(zip(image_set.hashes, image_set.names, strict=True))
        shared = [name for name, each in zip(validation.names, validation.hashes, strict=True)
                  if each in known]  # fmt: skip
        if shared:
            raise UserError(
                f"--validation_dir {folder}: {shared[0]} is the same file as one to train on "
                f"({len(shared)} such files); give other images"
            )
        yield validation


def _training_card(settings: TrainAttributorSettings | TrainVisNetSettings) -> dict[str, Any]:
    """Return settings for the card; it says which images validated and calibrated."""
    card = {key: getattr(settings, key) for key in ("window", "limit", "seed", "held_out")}
    folder = settings.validation_dir
    return card if folder is None else {**card, "held_out": None, "validation_dir": folder.name}


def _aligned(sources: Mapping[str, ImageSource], settings: Any, window: int | None) -> ImageSet:
    return ImageSet(
        sources,
        policy=ALIGNED,
        window=window,
        limit=settings.limit,
        seed=settings.seed,
        folder=settings.output_dir,
    )


def _squares(
    sources: Mapping[str, ImageSource],
    settings: TrainAttributorSettings | TrainVisNetSettings,
    side: int | None,
    check: Callable[[int], object] = lambda side: None,
) -> ImageSet:
    """Return the images, cropped to squares of a side that networks take.

    `check` raises a UserError if the settings do not suit the side.
    """
    image_set = _aligned(sources, settings, side)
    if side is not None:
        return image_set
    try:
        side = network_side(image_set.policy)
        check(side)
    except BaseException:
        image_set.close()
        raise
    if image_set.policy.window == (side, side):
        return image_set
    image_set.close()
    return _aligned(sources, settings, side)


def _write(
    image_set: ImageSet,
    found: FitResult,
    leakage: list[Leakage],
    card: dict[str, Any],
    output: Path,
    about: str | None = None,
    more: Mapping[str, Any] | None = None,
    folds: int | None = None,
) -> AttributorFit:
    """Write the attributor with its card; `more` and `folds` replace entries of the card."""
    lock_folder(output)
    metadata = found.attributor.metadata
    metadata.update(describe_fit(image_set, found, leakage, card, about))
    metadata.update(more or {})
    if folds is not None:
        metadata["validation"]["folds"] = folds
    files = save_attributor(found.attributor, output)
    return AttributorFit(
        **vars(found),
        images=image_set.originals,
        leakage=tuple(leakage),
        failed=image_set.failed,
        files=tuple(files),
    )
