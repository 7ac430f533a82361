"""Removal against least squares by NumPy, and rounding by its mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artfp.data.pixels import to_8bit, to_unit
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.passive_studies.removal.attack import (
    fingerprint_fraction,
    quantise,
    subtract_fingerprint,
)


def test_share_is_the_slope_of_a_line() -> None:
    rng = np.random.default_rng(1)
    fingerprint = rng.normal(size=(3, 6, 8)) + 0.4
    residuals = 0.7 * fingerprint + rng.normal(size=(4, 3, 6, 8)) + 2.0
    found = fingerprint_fraction(torch.from_numpy(residuals), torch.from_numpy(fingerprint))
    expected = [np.polyfit(fingerprint.ravel(), each.ravel(), 1)[0] for each in residuals]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    assert fingerprint_fraction(torch.ones(2, 3, 4, 4), torch.ones(3, 4, 4)).tolist() == [0.0, 0.0]


def test_projection_leaves_nothing_of_a_linear_residual() -> None:
    """The residual of x - s F is that of x less s F where the extractor leaves F as it is."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(3, 3, 16, 16, generator=generator)
    fingerprint = 0.01 * torch.randn(3, 16, 16, generator=generator)
    residuals = x - x.mean((1, 2, 3), keepdim=True)
    left = subtract_fingerprint(x, fingerprint, 1.0, residuals)
    assert correlation(residuals, fingerprint[None]).abs().max() > 0.01
    assert correlation(left, fingerprint[None]).abs().max() < 1e-6
    turned = subtract_fingerprint(x, fingerprint, 2.0, residuals)
    torch.testing.assert_close(
        fingerprint_fraction(turned, fingerprint),
        -fingerprint_fraction(x, fingerprint),
        atol=1e-4,
        rtol=1e-3,
    )


def test_the_mean_is_subtracted_from_all_alike() -> None:
    x, fingerprint = torch.rand(2, 3, 5, 7), torch.rand(3, 5, 7)
    torch.testing.assert_close(subtract_fingerprint(x, fingerprint, 0.5), x - 0.5 * fingerprint)


def test_rounding_to_the_nearest_is_that_of_all_of_artfp() -> None:
    x = torch.linspace(-0.1, 1.1, 999)
    torch.testing.assert_close(quantise(x), to_8bit(x))


def test_random_rounding_is_right_on_average() -> None:
    """One level or the next, with the mean in between; whole levels stay as they are."""
    generator = torch.Generator().manual_seed(3)
    x = torch.tensor([10.0, 10.2, 10.5, 10.9]).repeat(20000, 1) / 255.0
    found = quantise(x, generator).double()
    assert found.unique().tolist() == [10.0, 11.0]
    np.testing.assert_allclose(found.mean(0).numpy(), [10.0, 10.2, 10.5, 10.9], atol=0.02)
    whole = to_unit(torch.randint(0, 256, (1 << 20,), generator=generator, dtype=torch.uint8))
    assert (quantise(whole, generator) == to_8bit(whole)).all()
    outside = quantise(torch.tensor([-0.2, 1.3]), generator)
    assert outside.tolist() == [0, 255]


@pytest.mark.parametrize("random", [True, False])
def test_a_faint_fingerprint_goes_only_with_random_rounding(random: bool) -> None:
    """A pattern of 0.3 levels in 8-bit images: the nearest level is where it was."""
    rng = torch.Generator().manual_seed(4)
    pattern = 0.3 / 255.0 * torch.randn(3, 64, 64, generator=rng).sign()
    smooth = torch.rand(40, 3, 1, 1, generator=rng).expand(-1, -1, 64, 64) * 0.5 + 0.25
    images = to_unit(quantise(smooth + pattern, rng))
    extractor = load_extractor("gaussian:sigma=1")
    before = correlation(extractor(images), pattern[None]).mean().item()
    attacked = quantise(subtract_fingerprint(images, pattern), rng if random else None)
    after = correlation(extractor(to_unit(attacked)), pattern[None]).mean().item()
    assert before > 0.3
    assert abs(after) < 0.05 if random else after == pytest.approx(before, abs=1e-3)
