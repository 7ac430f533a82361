"""Correlation of residuals with sources' fingerprints, plain and whitened."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.correlation import (
    MATCHED_FILTER,
    PLAIN_CORRELATION,
    CorrelationOptions,
    ResidualCorrelation,
    ResidualSums,
    filter_spectrum,
    whitening_matrices,
)
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.extractor import Extractor

RAW = Extractor("raw", {}, lambda x: x)
SIDE = 16


class Sources:
    """Coloured noise, correlated between colours, with a weak pattern of each source."""

    def __init__(self, count: int = 3, side: int = SIDE, strength: float = 0.01) -> None:
        self.generator = torch.Generator().manual_seed(5)
        self.patterns = strength * torch.randn(count, 3, side, side, generator=self.generator)
        self.shared = 0.05 * torch.randn(3, side, side, generator=self.generator)

    def images(self, source: int, count: int) -> Tensor:
        side = self.patterns.shape[-1]
        noise = 0.1 * torch.randn(count, 3, side, side, generator=self.generator)
        noise = (noise + noise.roll(1, -1) + noise.roll(2, -1)) / 2
        noise[:, 1:] += noise[:, :1]
        return 0.5 + noise + self.patterns[source] + self.shared


def _summed(sources: Sources, images: list[Tensor], extractor: Extractor = RAW) -> ResidualSums:
    """Images of each source in two parts."""
    side = images[0].shape[-1]
    counts = [[len(x) - len(x) // 2, len(x) // 2] for x in images]
    names = [f"s{k}" for k in range(len(images))]
    sums = ResidualSums(counts, names, extractor, (side, side), (side, side))
    for k, x in enumerate(images):
        sums.add(x[0::2], k, 0)
        sums.add(x[1::2], k, 1)
    return sums


def _accuracy(attributor: Attributor, sources: Sources, count: int = 60) -> float:
    right = [
        (attributor.scores(sources.images(k, count)).argmax(1) == k).double().mean().item()
        for k in range(len(attributor.sources))
    ]
    return float(np.mean(right))


def test_plain_correlation_is_that_of_numpy() -> None:
    sources = Sources()
    images = [sources.images(k, 20) for k in range(3)]
    extractor = load_extractor("gaussian:sigma=1")
    found = _summed(sources, images, extractor).correlation(PLAIN_CORRELATION)
    assert isinstance(found, Attributor) and found.sources == ("s0", "s1", "s2")
    fresh = sources.images(1, 4)
    means = [extractor(x).double().mean(0).reshape(-1).numpy() for x in images]
    expected = [
        [np.corrcoef(row.reshape(-1), mean)[0, 1] for mean in means]
        for row in extractor(fresh).numpy()
    ]
    np.testing.assert_allclose(found.scores(fresh).numpy(), expected, atol=1e-5)


def test_matched_filter_is_that_of_the_full_covariance() -> None:
    """Whitening by spectra is whitening by the covariance of noise that does not know its place."""
    sources = Sources(side=6)
    images = [sources.images(k, 4000) for k in range(3)]
    found = _summed(sources, images).correlation(MATCHED_FILTER)
    fresh = sources.images(0, 50)
    # One generator of the same noise makes the covariance over all places, 108 x 108.
    flat = torch.cat([x - x.mean(0) for x in images])
    moved = [flat.roll((down, right), (-2, -1)) for down in range(6) for right in range(6)]
    rows = torch.cat([x.flatten(1)[::40] for x in moved]).double().numpy()
    root = linalg.sqrtm(linalg.inv(rows.T @ rows / len(rows))).real
    prints = np.stack([x.double().mean(0).reshape(-1).numpy() for x in images])
    grand = prints.mean(0)
    white = [(prints - grand) @ root, (fresh.flatten(1).double().numpy() - grand) @ root]
    expected = np.corrcoef(np.concatenate(white))[:3, 3:].T
    assert np.abs(found.scores(fresh).numpy() - expected).max() < 0.1
    assert np.corrcoef(found.scores(fresh).numpy().reshape(-1), expected.reshape(-1))[0, 1] > 0.98


@pytest.mark.parametrize("whitening", ["each", "joint"])
@pytest.mark.parametrize("side", [7, 8])
def test_whitened_noise_is_white(whitening: str, side: int) -> None:
    sources = Sources(side=side)
    x = sources.images(0, 3000) - sources.shared - sources.patterns[0] - 0.5
    spectra = torch.fft.rfft2(x)
    power = torch.einsum("nchw,ndhw->hwcd", spectra, spectra.conj()).to(torch.complex128) / 3000
    matrices = whitening_matrices(power, CorrelationOptions(whitening=whitening))
    assert matrices is not None
    white = torch.fft.rfft2(filter_spectrum(x, matrices))
    found = torch.einsum("nchw,ndhw->hwcd", white, white.conj()).numpy() / 3000
    diagonal = np.einsum("hwcc->hwc", found).real
    assert diagonal.std() / diagonal.mean() < 0.02
    across = np.abs(found[..., 0, 1]).mean() / diagonal.mean()
    assert across < 0.02 if whitening == "joint" else across > 0.3
    twice = filter_spectrum(filter_spectrum(x, matrices), matrices)
    assert torch.allclose(filter_spectrum(x, matrices, 2), twice, atol=1e-4)


def test_each_step_is_better() -> None:
    sources = Sources()
    sums = _summed(sources, [sources.images(k, 200) for k in range(3)])
    found = [
        _accuracy(sums.correlation(options), sources)
        for options in (
            CorrelationOptions(gray=True, grand_mean=False, whitening="none"),
            PLAIN_CORRELATION,
            CorrelationOptions(whitening="none"),
            CorrelationOptions(whitening="each"),
            MATCHED_FILTER,
        )
    ]
    assert found == sorted(found) and found[0] < 0.6 and found[-1] > 0.97


def test_a_part_that_is_left_out_has_no_say() -> None:
    sources = Sources()
    images = [sources.images(k, 20) for k in range(3)]
    one = _summed(sources, images).correlation(MATCHED_FILTER, without=1)
    other = [x.clone() for x in images]
    for x in other:
        x[1::2] = torch.rand(10, 3, SIDE, SIDE)
    two = _summed(sources, other).correlation(MATCHED_FILTER, without=1)
    assert torch.equal(one.fingerprints, two.fingerprints)
    assert torch.allclose(one.power, two.power)
    # And what is left is what images of that part alone make.
    alone = _summed(sources, [x[0::2].repeat_interleave(2, 0) for x in images])
    three = alone.correlation(MATCHED_FILTER)
    assert torch.allclose(one.fingerprints, three.fingerprints, atol=1e-7)
    assert torch.allclose(one.power, three.power)


def test_sources_count_alike() -> None:
    """A source of which there are more images has no more weight in the noise."""
    sources = Sources()
    images = [sources.images(k, 10) for k in range(2)]
    one = _summed(sources, images).correlation(MATCHED_FILTER)
    two = _summed(sources, [images[0], images[1].repeat(4, 1, 1, 1)]).correlation(MATCHED_FILTER)
    assert torch.allclose(one.power, two.power, rtol=1e-3)
    assert torch.allclose(one.fingerprints, two.fingerprints, atol=1e-7)


def test_crops_are_searched_for() -> None:
    """Pieces of 24 of 32 pixels, from anywhere, are found; without search they are not."""
    sources = Sources(side=32, strength=0.02)
    images = [sources.images(k, 200) for k in range(3)]
    sums = ResidualSums([[200]] * 3, ["a", "b", "c"], RAW, (32, 32), (24, 24))
    for k, x in enumerate(images):
        sums.add(x, k, 0, x[..., 4:28, 4:28])
    found = sums.correlation(MATCHED_FILTER)
    assert found.search
    fresh = [sources.images(k, 40) for k in range(3)]

    def right(down: int, across: int) -> float:
        cut = [x[..., down : down + 24, across : across + 24] for x in fresh]
        scores = [found.scores(x) for x in cut]
        assert max(float(s.max()) for s in scores) <= 1.0
        return float(np.mean([(s.argmax(1) == k).numpy() for k, s in enumerate(scores)]))

    assert min(right(0, 0), right(3, 7), right(8, 8)) > 0.95
    fixed = ResidualCorrelation(
        found.sources, RAW, found.fingerprints[..., :24, :24], found.power, (24, 24)
    )
    missed = [fixed.scores(x[..., 3:27, 7:31]).argmax(1) == k for k, x in enumerate(fresh)]
    assert float(torch.cat(missed).double().mean()) < 0.6


def test_search_scores_are_correlations_at_the_best_place() -> None:
    """Without whitening and on stationary prints they are Pearson's, by a loop over the places."""
    generator = torch.Generator().manual_seed(0)
    prints = torch.randn(2, 3, 20, 20, generator=generator)
    prints -= prints.mean((-1, -2, -3), keepdim=True)
    power = torch.zeros(12, 7, 3, 3, dtype=torch.complex128)
    options = CorrelationOptions(grand_mean=False, whitening="none")
    found = ResidualCorrelation(("a", "b"), RAW, prints, power, (12, 12), options)
    x = torch.rand(3, 3, 12, 12, generator=generator)
    rows = (x - x.mean((-1, -2, -3), keepdim=True)).flatten(1)
    expected = torch.full((3, 2), -1.0)
    corner = (prints[..., :12, :12].flatten(1)).sub(
        prints[..., :12, :12].mean((-1, -2, -3))[:, None]
    )
    norms = rows.norm(dim=1)[:, None] * corner.norm(dim=1)
    for down in range(9):
        for right in range(9):
            piece = prints[..., down : down + 12, right : right + 12].flatten(1)
            expected = torch.maximum(expected, rows @ piece.T / norms)
    assert torch.allclose(found.scores(x), expected, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    prints, power = torch.randn(2, 3, 8, 8), torch.ones(8, 5, 3, 3, dtype=torch.complex128)
    with pytest.raises(ValueError, match="window of"):
        ResidualCorrelation(("a", "b"), RAW, prints, power, (9, 8))
    with pytest.raises(ValueError, match="3 sources"):
        ResidualCorrelation(("a", "b", "c"), RAW, prints, power, (8, 8))
    with pytest.raises(ValueError, match="whitening 'much'"):
        options = CorrelationOptions(whitening="much")
        ResidualCorrelation(("a", "b"), RAW, prints, power, (8, 8), options)
    with pytest.raises(UserError, match="constant"):
        whitening_matrices(torch.zeros_like(power), MATCHED_FILTER)
    found = ResidualCorrelation(("a", "b"), RAW, prints, power, (8, 8), PLAIN_CORRELATION)
    with pytest.raises(ValueError, match="the window is"):
        found.scores(torch.rand(1, 3, 8, 9))
