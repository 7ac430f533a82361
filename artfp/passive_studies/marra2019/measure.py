"""One pass over the images of some sources: fingerprints first, then the test images' scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.passive.residuals.extractor import Extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, centred_rows
from artfp.passive.roc import CorrelationScores, count_correct
from artfp.passive_studies.marra2019.energy import Blocks, block_means
from artfp.passive_studies.marra2019.images import Images
from artfp.perturbations import PERTURBATIONS

LEAST_IMAGES, LEAST_TEST_IMAGES = 4, 2
LEAST_SIDE = 8
USUAL_IMAGES, OF = 512, 1000
"""Images that estimate a fingerprint in Marra et al. 2019, and all of a source."""

FRACTIONS = (1.0, 0.75, 0.5, 0.25)
"""Sides of centre crops, as shares of the whole."""

DRAWS = 4
"""How many fingerprints of each source are estimated from few images, at most."""


@dataclass(frozen=True)
class Wanted:
    """What is measured beside the correlations with the fingerprints."""

    images: int
    """That estimate a fingerprint."""
    test_images: int
    """Of each source, at most."""
    qualities: tuple[int, ...] = ()
    """Of JPEG, which test images go through."""
    numbers: bool = False
    """Attribution by fingerprints of fewer images."""
    crops: bool = False
    """Attribution of the middle of test images."""


@dataclass(frozen=True)
class Measured:
    """What all analyses start from."""

    sources: tuple[str, ...]
    size: tuple[int, int]
    """Height and width of all images."""
    fingerprints: tuple[ResidualFingerprint, ...]
    blocks: tuple[Blocks, ...]
    """Of each source's residuals that made the fingerprint, in the order in which they came."""
    scores: CorrelationScores
    jpeg: dict[int, CorrelationScores] = field(default_factory=dict)
    """By quality."""
    crops: dict[tuple[int, int], CorrelationScores] = field(default_factory=dict)
    """By height and width, from large to small."""
    numbers: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """Images attributed to their source (draws, sources), by number of estimation images."""

    @property
    def images(self) -> int:
        """Images of each source that its fingerprint was estimated from."""
        return self.fingerprints[0].count

    @property
    def tested(self) -> tuple[int, ...]:
        """Test images of each source."""
        return tuple(map(len, self.scores.values))


def split(images: Images, count: int | None, test: int | None) -> tuple[int, int]:
    """Numbers of images that estimate and that test, with defaults: 512 of 1000 or more, else
    half, and the rest.

    All sources get as many, which is what the smallest allows.

    Raises UserError: too few.
    """
    smallest = images.smallest()
    if smallest < LEAST_IMAGES + LEAST_TEST_IMAGES:
        raise UserError(
            f"a source has {smallest} images; expected {LEAST_IMAGES} or more for its fingerprint "
            f"and {LEAST_TEST_IMAGES} for tests"
        )
    usual = USUAL_IMAGES if smallest >= OF else max(LEAST_IMAGES, smallest // 2)
    chosen = usual if count is None else count
    if not LEAST_IMAGES <= chosen <= smallest - LEAST_TEST_IMAGES:
        raise UserError(
            f"{chosen} images for each fingerprint; the smallest source has {smallest}: choose "
            f"from {LEAST_IMAGES} to {smallest - LEAST_TEST_IMAGES}"
        )
    left = smallest - chosen
    tests = left if test is None else test
    if not LEAST_TEST_IMAGES <= tests <= left:
        raise UserError(
            f"{tests} test images of each source; {left} are left beside those for the "
            f"fingerprint, of the smallest source: choose from {LEAST_TEST_IMAGES} to {left}"
        )
    return chosen, tests


def measure(
    images: Images,
    extractor: Extractor,
    wanted: Wanted,
    device: torch.device | str = "cpu",
    advance: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Read all images once; `advance` takes after each batch how many images that were.

    Raises UserError: images of several sizes, or a source with too few that can be read.
    """
    estimated = [
        _estimate(images, name, extractor, wanted.images, device, advance) for name in images.names
    ]
    prints, blocks = [each[0] for each in estimated], [each[1] for each in estimated]
    means = torch.stack([each.mean for each in prints]).to(device)
    whole = (means.shape[-2], means.shape[-1])
    sides = sorted({_side(whole, share) for share in FRACTIONS}, reverse=True)
    templates = _Templates(
        {
            side: centred_rows(centre_crop(means, side))
            for side in (sides if wanted.crops else [whole])
        },
        _few(blocks, device) if wanted.numbers else {},
        wanted.qualities,
    )
    tests = []
    for own, name in enumerate(images.names):
        batches = []
        for pixels in images.take(name, wanted.test_images):
            batches.append(_read(pixels, own, extractor, templates, device))
            advance(len(pixels))
        if not batches:
            raise UserError(f"{name}: no image can be read beside those of the fingerprint")
        tests.append(batches)

    def scores(key: object) -> CorrelationScores:
        parts = (np.concatenate([batch.scores[key] for batch in batches]) for batches in tests)
        return CorrelationScores(images.names, tuple(parts))

    def hits(number: int) -> NDArray[np.int64]:
        return np.stack([sum(batch.hits[number] for batch in batches) for batches in tests], 1)

    return Measured(
        images.names,
        whole,
        tuple(prints),
        tuple(blocks),
        scores(whole),
        {quality: scores(quality) for quality in wanted.qualities},
        {side: scores(side) for side in templates.crops if wanted.crops},
        {number: hits(number) for number in templates.few},
    )


def _estimate(
    images: Images,
    name: str,
    extractor: Extractor,
    count: int,
    device: torch.device | str,
    advance: Callable[[int], None],
) -> tuple[ResidualFingerprint, Blocks]:
    """A source's fingerprint, from its next images, with the means of blocks of them."""
    prints: list[ResidualFingerprint] = []

    def residuals() -> Iterator[Tensor]:
        for pixels in images.take(name, count):
            batch = extractor(to_unit(pixels.to(device)))
            if not prints:
                if min(batch.shape[-2:]) < LEAST_SIDE:
                    width = batch.shape[-1]
                    raise UserError(
                        f"{name}: images of {width}x{batch.shape[-2]} pixels; expected "
                        f"{LEAST_SIDE} a side or more"
                    )
                prints.append(ResidualFingerprint.empty(batch.shape[1:], extractor.text, name))
            prints[0].add(batch)
            advance(len(batch))
            yield batch

    blocks = block_means(residuals(), DRAWS)
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
    found = prints[0]
    found.codecs.update(images.codecs[name])
    found.sizes[f"{found.shape[2]}x{found.shape[1]}"] = count
    return found, blocks


@dataclass(frozen=True)
class _Templates:
    """What test images are correlated with: rows of centred fingerprints."""

    crops: dict[tuple[int, int], Tensor]
    """By size, of each source's middle (sources, ...); the whole one is among them."""
    few: dict[int, Tensor]
    """By number of images, of each draw and source (draws x sources, ...)."""
    qualities: tuple[int, ...]


@dataclass(frozen=True)
class _Batch:
    """What was found on some test images of a source."""

    scores: dict[object, NDArray[np.float64]]
    """Correlations (N, sources) by size of the crop, or by quality of JPEG."""
    hits: dict[int, NDArray[np.int64]]
    """Images attributed to their source (draws,), by number of images."""


def _read(
    pixels: Tensor,
    own: int,
    extractor: Extractor,
    templates: _Templates,
    device: torch.device | str,
) -> _Batch:
    def residuals(pixels: Tensor) -> Tensor:
        return extractor(to_unit(pixels.to(device)))

    found = residuals(pixels)
    whole = (pixels.shape[-2], pixels.shape[-1])
    scores: dict[object, NDArray[np.float64]] = {
        side: _products(centre_crop(found, side), rows) for side, rows in templates.crops.items()
    }
    for quality in templates.qualities:
        coded = PERTURBATIONS["jpeg"].true(pixels, float(quality), torch.Generator())
        scores[quality] = _products(residuals(coded), templates.crops[whole])
    sources = len(templates.crops[whole])
    hits = {
        number: count_correct(_products(found, rows).reshape(len(found), -1, sources), own)
        for number, rows in templates.few.items()
    }
    return _Batch(scores, hits)


def centre_crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle (N, C, height, width) of arrays (N, C, H, W); what is odd is lost at the end."""
    top, left = ((whole - part) // 2 for whole, part in zip(x.shape[-2:], size, strict=True))
    return x[..., top : top + size[0], left : left + size[1]]


def _side(whole: tuple[int, int], share: float) -> tuple[int, int]:
    return max(1, round(whole[0] * share)), max(1, round(whole[1] * share))


def _few(blocks: Sequence[Blocks], device: torch.device | str) -> dict[int, Tensor]:
    """Rows (draws x sources, C H W) by number of images; all sources have as many blocks."""
    return {
        number: centred_rows(
            torch.stack([b.means[number][k] for k in range(len(means)) for b in blocks]).to(device)
        )
        for number, means in blocks[0].means.items()
    }


def _products(residuals: Tensor, rows: Tensor) -> np.ndarray:
    return (centred_rows(residuals) @ rows.T).double().cpu().numpy()
