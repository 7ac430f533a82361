"""One pass over the images of sources: residual fingerprints, then the test images' scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.pixels import to_unit
from artfp.data.subset import half_of
from artfp.passive.residuals.extractor import Extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, centred_rows
from artfp.passive.roc import CorrelationScores, count_correct
from artfp.passive_studies.marra2019.energy import BlockMeans, block_means
from artfp.passive_studies.marra2019.images import SourceImages
from artfp.perturbations.conditions import Condition
from artfp.perturbations.registry import PERTURBATIONS

MIN_FIT_IMAGES, MIN_TEST_IMAGES = 4, 2
MIN_RESIDUAL_SIDE = 8

CROP_FRACTIONS = (1.0, 0.75, 0.5, 0.25)
"""Sides of centre crops, as fractions of the whole."""

MAX_DRAWS = 4
"""Fingerprints of each source that are estimated from one number of images, at most."""


@dataclass(frozen=True)
class MeasurementPlan:
    """Numbers of images, and measurements beside the correlations with the fingerprints.

    Args:
        images: Images that estimate a fingerprint.
        test_images: Test images of each source, at most.
        qualities: JPEG qualities at which test images are compressed.
        numbers: True to attribute by fingerprints of fewer images.
        crops: True to attribute centre crops of test images.
        conditions: Perturbations of test images.
        validation_images: Images of each source that decide thresholds, at most.
        fpr: False positive rate of the thresholds.
        seed: Seed of what perturbations draw.
    """

    images: int
    test_images: int
    qualities: tuple[int, ...] = ()
    numbers: bool = False
    crops: bool = False
    conditions: tuple[Condition, ...] = ()
    validation_images: int = 0
    fpr: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class ResidualMeasurements:
    """Measurements that all analyses start from."""

    sources: tuple[str, ...]
    size: tuple[int, int]
    """Height and width of all images."""
    fingerprints: tuple[ResidualFingerprint, ...]
    blocks: tuple[BlockMeans, ...]
    """Block means of each source's residuals that made the fingerprint, in their order."""
    scores: CorrelationScores
    jpeg: dict[int, CorrelationScores] = field(default_factory=dict)
    """Scores by JPEG quality."""
    crops: dict[tuple[int, int], CorrelationScores] = field(default_factory=dict)
    """Scores by height and width of the crop, from large to small."""
    numbers: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """Images attributed to their source (draws, sources), by number of estimation images."""
    perturbed: dict[str, CorrelationScores] = field(default_factory=dict)
    """Scores by condition."""
    validation: CorrelationScores | None = None
    """Scores of the images that decide thresholds."""
    fpr: float = 0.05
    """False positive rate of the thresholds."""

    @property
    def images(self) -> int:
        """Number of images that each fingerprint was estimated from."""
        return self.fingerprints[0].count

    @property
    def test_counts(self) -> tuple[int, ...]:
        """Number of test images of each source."""
        return tuple(map(len, self.scores.values))


def split_counts(
    images: SourceImages, count: int | None, test: int | None, validation: int = 0
) -> tuple[int, int]:
    """Return how many images of each source estimate and how many test.

    Args:
        images: Images of all sources; the smallest source decides.
        count: Images that estimate; by default 512 of 1000 or more, else half.
        test: Test images; by default the rest.
        validation: Images that are set aside from both.

    Raises:
        UserError: too few images.
    """
    smallest = images.smallest() - validation
    if smallest < MIN_FIT_IMAGES + MIN_TEST_IMAGES:
        raise UserError(
            f"a source has {smallest} images{_beside(validation)}; expected {MIN_FIT_IMAGES} or "
            f"more for its fingerprint and {MIN_TEST_IMAGES} for tests"
        )
    chosen = max(MIN_FIT_IMAGES, half_of(smallest)) if count is None else count
    if not MIN_FIT_IMAGES <= chosen <= smallest - MIN_TEST_IMAGES:
        raise UserError(
            f"{chosen} images for each fingerprint; the smallest source has {smallest}"
            f"{_beside(validation)}: choose "
            f"from {MIN_FIT_IMAGES} to {smallest - MIN_TEST_IMAGES}"
        )
    left = smallest - chosen
    tests = left if test is None else test
    if not MIN_TEST_IMAGES <= tests <= left:
        raise UserError(
            f"{tests} test images of each source; {left} are left beside those for the "
            f"fingerprint, of the smallest source: choose from {MIN_TEST_IMAGES} to {left}"
        )
    return chosen, tests


def _beside(validation: int) -> str:
    return f" beside {validation} of validation" if validation else ""


def measure_sources(
    images: SourceImages,
    extractor: Extractor,
    plan: MeasurementPlan,
    device: torch.device | str = "cpu",
    validation: SourceImages | None = None,
) -> ResidualMeasurements:
    """Read all images once and measure them.

    Images that decide thresholds are those of `validation`, else `validation_images` of each
    source.

    Raises:
        UserError: images of several sizes, or a source with too few that can be read.
    """
    total = (plan.images + plan.test_images + plan.validation_images) * len(images.names)
    with Progress("Measuring", total) as progress:
        return _measure(images, extractor, plan, device, progress, validation or images)


def _measure(
    images: SourceImages,
    extractor: Extractor,
    plan: MeasurementPlan,
    device: torch.device | str,
    progress: Progress,
    validation: SourceImages,
) -> ResidualMeasurements:
    estimated = [
        _estimate(images, name, extractor, plan.images, device, progress) for name in images.names
    ]
    fingerprints, blocks = [each[0] for each in estimated], [each[1] for each in estimated]
    means = torch.stack([each.mean for each in fingerprints]).to(device)
    whole = (means.shape[-2], means.shape[-1])
    sides = sorted({_crop_size(whole, fraction) for fraction in CROP_FRACTIONS}, reverse=True)
    templates = _Templates(
        {
            side: centred_rows(centre_crop(means, side))
            for side in (sides if plan.crops else [whole])
        },
        _rows_of_fewer(blocks, device) if plan.numbers else {},
        plan.qualities,
        plan.conditions,
        plan.seed,
    )
    validation.expect_size(images)
    validated = _validate(validation, images.names, extractor, plan, templates, device, progress)
    tests = []
    for own, name in enumerate(images.names):
        batches: list[_Batch] = []
        for pixels in images.take(name, plan.test_images):
            place = f"{name}/{len(batches)}"
            batches.append(_measure_batch(pixels, own, place, extractor, templates, device))
            progress.advance(len(pixels))
        if not batches:
            raise UserError(f"{name}: no image can be read beside those of the fingerprint")
        tests.append(batches)

    def scores(key: object) -> CorrelationScores:
        parts = (np.concatenate([batch.scores[key] for batch in batches]) for batches in tests)
        return CorrelationScores(images.names, tuple(parts))

    def hits(number: int) -> NDArray[np.int64]:
        return np.stack([sum(batch.hits[number] for batch in batches) for batches in tests], 1)

    return ResidualMeasurements(
        images.names,
        whole,
        tuple(fingerprints),
        tuple(blocks),
        scores(whole),
        {quality: scores(quality) for quality in plan.qualities},
        {side: scores(side) for side in templates.crops if plan.crops},
        {number: hits(number) for number in templates.fewer},
        {condition.name: scores(condition.name) for condition in plan.conditions},
        validated,
        plan.fpr,
    )


def _validate(
    images: SourceImages,
    names: Sequence[str],
    extractor: Extractor,
    plan: MeasurementPlan,
    templates: _Templates,
    device: torch.device | str,
    progress: Progress,
) -> CorrelationScores | None:
    """Return the scores of the images that decide thresholds, if there are any."""
    if not plan.validation_images:
        return None
    whole = next(iter(templates.crops.values()))
    found = []
    for name in names:
        parts = []
        for pixels in images.take(name, plan.validation_images, "validation"):
            residuals = extractor(to_unit(pixels.to(device)))
            parts.append(_correlations(residuals, whole))
            progress.advance(len(pixels))
        if not parts:
            raise UserError(f"{name}: no image of validation can be read")
        found.append(np.concatenate(parts))
    return CorrelationScores(tuple(names), tuple(found))


def _estimate(
    images: SourceImages,
    name: str,
    extractor: Extractor,
    count: int,
    device: torch.device | str,
    progress: Progress,
) -> tuple[ResidualFingerprint, BlockMeans]:
    """Estimate a source's fingerprint from its next images, with the means of blocks of them."""
    fingerprints: list[ResidualFingerprint] = []

    def residuals() -> Iterator[Tensor]:
        for pixels in images.take(name, count, "fingerprint"):
            batch = extractor(to_unit(pixels.to(device)))
            if not fingerprints:
                if min(batch.shape[-2:]) < MIN_RESIDUAL_SIDE:
                    width = batch.shape[-1]
                    raise UserError(
                        f"{name}: images of {width}x{batch.shape[-2]} pixels; expected "
                        f"{MIN_RESIDUAL_SIDE} a side or more"
                    )
                fingerprints.append(
                    ResidualFingerprint.empty(batch.shape[1:], extractor.text, name)
                )
            fingerprints[0].add(batch)
            progress.advance(len(batch))
            yield batch

    blocks = block_means(residuals(), MAX_DRAWS)
    if blocks.count < count:
        raise UserError(
            f"{name}: {blocks.count} images can be read; {count} are needed to estimate the "
            "fingerprint"
        )
    if blocks.energies[count] == [0.0]:
        raise UserError(
            f"{name}: the mean residual is 0 everywhere: its images are flat, or {extractor.text} "
            "leaves nothing of them"
        )
    found = fingerprints[0]
    found.codecs.update(images.codecs[name])
    found.sizes[f"{found.shape[2]}x{found.shape[1]}"] = count
    return found, blocks


@dataclass(frozen=True)
class _Templates:
    """Rows of centred fingerprints that test images are correlated with."""

    crops: dict[tuple[int, int], Tensor]
    """Centre crops of each source's fingerprint (sources, ...) by size, the whole one too."""
    fewer: dict[int, Tensor]
    """Fingerprints of each draw and source (draws x sources, ...) by number of images."""
    qualities: tuple[int, ...]
    conditions: tuple[Condition, ...]
    seed: int


@dataclass(frozen=True)
class _Batch:
    """Scores of a batch of test images of a source."""

    scores: dict[object, NDArray[np.float64]]
    """Correlations (N, sources) by size of the crop, quality of JPEG, or condition."""
    hits: dict[int, NDArray[np.int64]]
    """Images attributed to their source (draws,), by number of images."""


def _measure_batch(
    pixels: Tensor,
    own: int,
    place: str,
    extractor: Extractor,
    templates: _Templates,
    device: torch.device | str,
) -> _Batch:
    def residuals(pixels: Tensor) -> Tensor:
        return extractor(to_unit(pixels.to(device)))

    found = residuals(pixels)
    whole = (pixels.shape[-2], pixels.shape[-1])
    scores: dict[object, NDArray[np.float64]] = {
        side: _correlations(centre_crop(found, side), rows)
        for side, rows in templates.crops.items()
    }
    for quality in templates.qualities:
        coded = PERTURBATIONS["jpeg"].real(pixels, float(quality), torch.Generator())
        scores[quality] = _correlations(residuals(coded), templates.crops[whole])
    for condition in templates.conditions:
        changed = condition.apply(pixels, templates.seed, place)
        scores[condition.name] = _correlations(residuals(changed), templates.crops[whole])
    sources = len(templates.crops[whole])
    hits = {
        number: count_correct(_correlations(found, rows).reshape(len(found), -1, sources), own)
        for number, rows in templates.fewer.items()
    }
    return _Batch(scores, hits)


def centre_crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle (N, C, height, width) of (N, C, H, W); an odd rest is cut at the end."""
    top, left = ((whole - part) // 2 for whole, part in zip(x.shape[-2:], size, strict=True))
    return x[..., top : top + size[0], left : left + size[1]]


def _crop_size(whole: tuple[int, int], fraction: float) -> tuple[int, int]:
    return max(1, round(whole[0] * fraction)), max(1, round(whole[1] * fraction))


def _rows_of_fewer(blocks: Sequence[BlockMeans], device: torch.device | str) -> dict[int, Tensor]:
    """Return rows (draws x sources, C H W) by number of images."""
    return {
        number: centred_rows(
            torch.stack([b.means[number][k] for k in range(len(means)) for b in blocks]).to(device)
        )
        for number, means in blocks[0].means.items()
    }


def _correlations(residuals: Tensor, rows: Tensor) -> np.ndarray:
    return (centred_rows(residuals) @ rows.T).double().cpu().numpy()
