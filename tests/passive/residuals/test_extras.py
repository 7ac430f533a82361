"""Extras together: each does what its function does, and none is on by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals import prnu
from artfp.passive.residuals.extras import Extras
from artfp.passive.residuals.source_fingerprint import SourceFingerprint, correlation

SHAPE = (3, 16, 18)


def _print(seed: int, extractor: str = "gaussian", weighted: bool = True) -> SourceFingerprint:
    draw = torch.Generator().manual_seed(seed)
    found = SourceFingerprint.empty(SHAPE, extractor, f"source {seed}", weighted)
    found.add(torch.randn(5, *SHAPE, generator=draw), torch.rand(5, *SHAPE, generator=draw))
    return found


@pytest.fixture
def prints() -> list[SourceFingerprint]:
    return [_print(seed) for seed in range(3)]


@pytest.fixture
def residuals() -> Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(7))


def test_by_default_it_is_plain_correlation(
    prints: list[SourceFingerprint], residuals: Tensor
) -> None:
    means = torch.stack([each.mean for each in prints])
    plain = Extras()
    assert torch.equal(plain.references(prints), means)
    found = plain.scores(residuals, plain.references(prints))
    assert torch.equal(found, correlation(residuals, means))


def _peaks(reach: int | None) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: prnu.pce(a, b, reach).pce


@pytest.mark.parametrize(
    ("extras", "clean", "compare"),
    [
        (Extras(grey=True), prnu.grey, correlation),
        (Extras(zero_mean=True), prnu.zero_mean, correlation),
        (Extras(wiener=True), prnu.wiener_dft, correlation),
        (
            Extras(grey=True, zero_mean=True, wiener=True),
            lambda x: prnu.wiener_dft(prnu.zero_mean(prnu.grey(x))),
            correlation,
        ),
        (Extras(pce=True), lambda x: x, _peaks(0)),
        (Extras(pce=True, reach=None), lambda x: x, _peaks(None)),
        (Extras(less_common=True), lambda x: x, lambda a, b: correlation(a, b - b.mean(0))),
    ],
)
def test_each_extra_is_its_function(
    prints: list[SourceFingerprint],
    residuals: Tensor,
    extras: Extras,
    clean: Callable[[Tensor], Tensor],
    compare: Callable[[Tensor, Tensor], Tensor],
) -> None:
    means = torch.stack([each.mean for each in prints])
    found = extras.scores(residuals, extras.references(prints))
    torch.testing.assert_close(found, compare(clean(residuals), clean(means)))
    plain = Extras()
    assert not torch.allclose(found, plain.scores(residuals, plain.references(prints)))


def test_maximum_likelihood(prints: list[SourceFingerprint]) -> None:
    found = Extras(maximum_likelihood=True).references(prints)
    assert torch.equal(found, torch.stack([prnu.maximum_likelihood(each) for each in prints]))


def test_fingerprints_that_cannot_be_compared(prints: list[SourceFingerprint]) -> None:
    with pytest.raises(UserError, match="one extractor expected, found gaussian, wavelet"):
        Extras().references([*prints, _print(3, "wavelet")])
    with pytest.raises(UserError, match="one shape expected, found none"):
        Extras().references([])
    with pytest.raises(UserError, match="weighted=True"):
        Extras(maximum_likelihood=True).references([_print(1, weighted=False)])
