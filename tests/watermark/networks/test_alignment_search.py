"""Evidence for a place under the carriers: calibrated on nothing, and by a formula by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.watermark import build_pair
from artfp.watermark.networks.alignment_search import (
    AlignmentScorer,
    transform_matrices,
    turns_to_try,
    windows_to_try,
)
from artfp.watermark.networks.realigning import CLEAR_SCORE
from artfp.watermark.networks.residual import ResidualDecoder

BITS, SIDE = 100, 128


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def decoder() -> ResidualDecoder:
    decoder = build_pair("residual", BITS, SIDE, seed=0)[1].eval()
    assert isinstance(decoder, ResidualDecoder)
    return decoder


@pytest.fixture(scope="module")
def scorer(decoder: ResidualDecoder) -> AlignmentScorer:
    return AlignmentScorer(decoder, torch.device("cpu"))


@pytest.fixture(scope="module")
def photos(photo_crops: Callable[..., Tensor]) -> Tensor:
    return to_unit(photo_crops(32, SIDE, seed=6))


@pytest.fixture(scope="module")
def marked(photos: Tensor) -> Tensor:
    """The first eight, fingerprinted by an untrained encoder at great strength."""
    encoder = build_pair("residual", BITS, SIDE, seed=0)[0].eval()
    encoder.rescale(2.5)
    words = torch.randint(0, 2, (8, BITS), generator=seeded(1)).float()
    with torch.no_grad():
        return to_unit(to_8bit(encoder(photos[:8], words)))


@torch.no_grad()
def test_the_evidence_knows_no_sign(
    scorer: AlignmentScorer, decoder: ResidualDecoder, marked: Tensor, photos: Tensor
) -> None:
    """Complementary words have the same energy in every carrier, so the same poses."""
    grid = decoder.estimate_residual(marked) - decoder.estimate_residual(photos[:8])
    assert grid.abs().mean() > 0.05
    for tries in (turns_to_try(scorer.side), windows_to_try(scorer.side)):
        one, other = (
            scorer.coarse_search(scorer.gray(sign * grid), scorer.search_plan(tries, 1.0))
            for sign in (1, -1)
        )
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


@torch.no_grad()
def test_evidence_is_calibrated_without_a_fingerprint(
    scorer: AlignmentScorer, decoder: ResidualDecoder, marked: Tensor, photos: Tensor
) -> None:
    """In standard deviations from chance: 0 +- 1 without, far above with a fingerprint."""
    noise = torch.rand(128, 3, SIDE, SIDE, generator=seeded(4))
    for images, slack in ((noise, 0.4), (photos, 0.5)):
        values = scorer.score_unchanged(decoder.estimate_residual(images))
        assert abs(float(values.mean())) < slack
        assert 1 - slack < float(values.std()) < 1 + slack
    assert (scorer.score_unchanged(decoder.estimate_residual(marked)) > CLEAR_SCORE).all()


@pytest.mark.parametrize("bits", [8, 16, 64, 100, 256])
def test_the_two_signs_are_0_and_1_of_a_bell_curve(bits: int) -> None:
    """Correlations of nothing are normal; then both signs, and so their sum, are standard."""
    scorer = AlignmentScorer.__new__(AlignmentScorer)
    scorer.bits = bits
    found = torch.randn(40_000, bits, generator=seeded(bits))
    values = scorer._combine(found, torch.full((40_000,), math.log(bits)))
    # ln of a chi-squared mean lies 1 / bits under 0; that is its second-order term.
    assert abs(float(values.mean())) < 0.03 + 1 / bits / math.sqrt(2 / bits)
    assert float(values.std()) == pytest.approx(1.0, abs=0.03 + 1 / bits)
    loud = scorer._combine(found.sign(), torch.full((40_000,), math.log(bits)))
    assert (loud > 0.5 * math.sqrt(bits)).all()  # all carriers find the same: a fingerprint


@torch.no_grad()
def test_evidence_by_hand(
    scorer: AlignmentScorer, decoder: ResidualDecoder, marked: Tensor, photos: Tensor
) -> None:
    """Energy over that in noise of the same spectrum, and its evenness, in float64."""
    side = scorer.side
    heard = decoder.estimate_residual(photos[:3])
    heard = torch.cat([heard, torch.randn(2, 3, side, side, generator=seeded())])
    lying = scorer.positions(transform_matrices(torch.zeros(1, 1, 4))).expand(5, -1, -1, -1)
    got = scorer.score(scorer.gray(heard), lying)[:, 0]
    torch.testing.assert_close(got, scorer.score_unchanged(heard), rtol=0, atol=1e-3)
    carriers = decoder.carriers.matrix().view(BITS, 3, side, side).double()
    colours = carriers.transpose(0, 1).flatten(1)
    colour = torch.linalg.eigh(colours @ colours.T).eigenvectors[:, -1]
    patterns = torch.einsum("c,bchw->bhw", colour, carriers).numpy()
    grids = torch.einsum("c,nchw->nhw", colour, heard.double()).numpy()
    for value, grid in zip(got.tolist(), grids, strict=True):
        found = np.array([float((grid * pattern).sum()) for pattern in patterns])
        # The mean over all cyclic shifts of the grid of the energy in each pattern.
        chance = sum(
            float((np.abs(np.fft.fft2(grid) * np.fft.fft2(pattern).conj()) ** 2).sum())
            for pattern in patterns
        )
        energy = math.log((found**2).sum() / (chance / side**4)) / math.sqrt(2 / BITS)
        evenness = np.abs(found).mean() ** 2 / (found**2).mean()
        evenness = (evenness - (2 / math.pi + 0.32 / BITS)) / (0.339 / math.sqrt(BITS))
        assert value == pytest.approx((energy + evenness) / math.sqrt(2), abs=0.01)


@torch.no_grad()
def test_a_survey_is_nearly_the_evidence(
    scorer: AlignmentScorer, decoder: ResidualDecoder, marked: Tensor
) -> None:
    """Equal for what chance is taken from; for the others it errs by less than a deviation."""
    gray = scorer.gray(decoder.estimate_residual(marked[:4]))
    equal = [[[math.log(0.8), 0, 0, 0]], [[0, math.radians(20.0), 0, 0]]]
    cases = [(torch.tensor(poses), 1e-3) for poses in equal]
    cases += [(turns_to_try(scorer.side), 1.0), (windows_to_try(scorer.side), 1.0)]
    for poses, bound in cases:
        for aspect in (1.0, 0.75):
            places = scorer.positions(transform_matrices(poses, aspect)[None]).expand(4, -1, -1, -1)
            exact = scorer.score(gray, places)
            quick = scorer.coarse_search(gray, scorer.search_plan(poses, aspect))
            assert quick.shape == exact.shape == (4, len(poses))
            assert float((quick - exact).square().mean().sqrt()) < bound
