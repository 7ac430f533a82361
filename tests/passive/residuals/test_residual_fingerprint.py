"""Streaming fingerprints and correlation against formulas in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.bundle import (
    CARD,
    read_card,
)
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, correlation

SHAPE = (3, 12, 10)


def _residuals(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 0.05


def _of(residuals: Tensor, name: str = "a", batch: int = 7) -> ResidualFingerprint:
    found = ResidualFingerprint.empty(SHAPE, "gaussian:sigma=1", name)
    for part in residuals.split(batch):
        found.add(part)
    return found


def test_mean_and_spectrum_are_numpys() -> None:
    residuals = _residuals(40)
    found = _of(residuals)
    rows = residuals.double().numpy()
    assert found.count == 40 and found.mean.dtype == torch.float32
    np.testing.assert_allclose(found.mean.numpy(), rows.mean(0), atol=1e-8)
    power = np.abs(np.fft.fft2(rows)) ** 2 / (12 * 10)
    expected = power.mean(0)[..., : 10 // 2 + 1]
    np.testing.assert_allclose(found.spectrum.numpy(), expected, rtol=1e-5)


def test_order_batches_and_merging_make_no_difference_to_the_last_bit() -> None:
    residuals = _residuals(60) * torch.logspace(-9, 1, 60)[:, None, None, None]
    whole = _of(residuals)
    backwards = _of(residuals.flip(0), batch=11)
    parts = [_of(part, batch=3) for part in residuals.split([1, 20, 39])]
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    plain = residuals.double().flip(0).cumsum(0)[-1]
    assert not torch.equal(plain, residuals.double().cumsum(0)[-1])  # it is no matter of course
    for other in (backwards, parts[2]):
        assert other.count == 60
        assert torch.equal(other.total, whole.total)
        torch.testing.assert_close(other.power, whole.power, rtol=1e-12, atol=0)


def test_weighted_sums() -> None:
    residuals, images = _residuals(9), torch.rand(9, *SHAPE)
    found = ResidualFingerprint.empty(SHAPE, "gaussian", "a", weighted=True)
    other = ResidualFingerprint.empty(SHAPE, "gaussian", "b", weighted=True)
    found.add(residuals[:4], images[:4])
    other.add(residuals[4:], images[4:])
    found.merge(other)
    assert found.product is not None and found.square is not None
    rows, x = residuals.double().numpy(), images.double().numpy()
    np.testing.assert_allclose(found.product.numpy(), (rows * x).sum(0), atol=1e-8)
    np.testing.assert_allclose(found.square.numpy(), (x**2).sum(0), atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_saved_is_loaded_and_goes_on(tmp_path: Path, weighted: bool) -> None:
    residuals, images = _residuals(8), torch.rand(8, *SHAPE)
    whole = ResidualFingerprint.empty(SHAPE, "gaussian:sigma=1", "Ümläut/1", weighted)
    whole.add(residuals, images)
    half = ResidualFingerprint.empty(SHAPE, "gaussian:sigma=1", "Ümläut/1", weighted)
    half.codecs.update(JPEG=3, PNG=1)
    half.sizes.update({"10x12": 4})
    half.add(residuals[:4], images[:4])
    half.save(tmp_path / "a.safetensors")
    again = ResidualFingerprint.load(tmp_path / "a.safetensors")
    assert again.card() == half.card()
    again.add(residuals[4:], images[4:])
    assert torch.equal(again.total, whole.total) and again.count == 8
    assert again.weighted == weighted
    if again.product is not None and whole.product is not None:
        assert torch.equal(again.product, whole.product)
    card = read_card(tmp_path / "a.safetensors")
    assert card["source"] == "Ümläut/1" and card["count"] == 4 and card["size"] == [3, 12, 10]
    assert card["extractor"] == "gaussian:sigma=1"
    assert card["codecs"] == {"JPEG": 3, "PNG": 1} and card["sizes"] == {"10x12": 4}


def test_correlation_is_numpys() -> None:
    a, b = _residuals(5, 1) + 0.3, _residuals(4, 2) * 7 - 1
    b[1] = a[2] * 3 + 2
    b[2] = -a[0]
    found = correlation(a, b)
    expected = np.corrcoef(
        np.vstack([a.double().numpy().reshape(5, -1), b.double().numpy().reshape(4, -1)])
    )[:5, 5:]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert found[2, 1] == pytest.approx(1.0, abs=1e-5)
    assert found[0, 2] == pytest.approx(-1.0, abs=1e-5)
    raw = correlation(a, b, normalised=False)
    rows = [x.double().numpy().reshape(len(x), -1) for x in (a, b)]
    left, right = (x - x.mean(1, keepdims=True) for x in rows)
    np.testing.assert_allclose(raw.numpy(), left @ right.T, rtol=1e-4, atol=1e-4)


def test_constant_arrays_correlate_with_nothing() -> None:
    constant = torch.full((1, *SHAPE), 0.1)
    both = torch.cat([constant, _residuals(1)])
    found = correlation(constant, both)
    assert torch.equal(found, torch.zeros(1, 2))


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    found = _of(_residuals(3))
    before = found.total.clone()
    bad = _residuals(2)
    bad[1, 0, 0, 0] = torch.nan
    for wrong, message in (
        (_residuals(2)[:, :, :5], r"residuals of shape \(2, 3, 5, 10\), expected \(N, 3, 12, 10\)"),
        (_residuals(2)[0], "residuals of shape"),
        (bad, "not finite"),
    ):
        with pytest.raises(UserError, match=message):
            found.add(wrong)
    other = ResidualFingerprint.empty(SHAPE, "gaussian:sigma=2", "b")
    with pytest.raises(UserError, match="extractor is gaussian:sigma=1 and gaussian:sigma=2"):
        found.merge(other)
    weighted = ResidualFingerprint.empty(SHAPE, "gaussian:sigma=1", "b", weighted=True)
    with pytest.raises(UserError, match="weighted is False and True"):
        found.merge(weighted)
    with pytest.raises(UserError, match="needs images"):
        weighted.add(_residuals(2))
    with pytest.raises(UserError, match="2 residuals and 1 images"):
        weighted.add(_residuals(2), torch.rand(1, *SHAPE))
    assert torch.equal(found.total, before) and found.count == 3 and weighted.count == 0
    with pytest.raises(UserError, match="no image was added yet"):
        _ = other.mean
    for shape in ((3, 0, 4), (4, 4)):
        with pytest.raises(UserError, match="1 or more"):
            ResidualFingerprint.empty(shape, "gaussian", "a")
    with pytest.raises(UserError, match="expected"):
        correlation(_residuals(2), _residuals(2)[:, :, :5])


@pytest.mark.parametrize(
    ("card", "tensors", "message"),
    [
        ({"kind": "decoder"}, {}, "holds a decoder, not a source fingerprint"),
        ({"count": "many"}, {}, "count 'many'"),
        ({"count": -1}, {}, "number of images"),
        ({"codecs": {"PNG": 0.5}}, {}, "number of images"),
        ({"size": [3, 12]}, {}, r"size \[3, 12\]"),
        ({"size": [3, 12, 12]}, {}, r"total is \[3, 12, 10\].*expected \[3, 12, 12\]"),
        ({}, {"total": torch.zeros(SHAPE)}, "float32, expected"),
        ({}, {"total": torch.full(SHAPE, torch.inf, dtype=torch.float64)}, "no finite numbers"),
        ({}, {"power": -torch.ones(3, 12, 6, dtype=torch.float64)}, "below 0"),
        ({}, {"product": torch.zeros(SHAPE, dtype=torch.float64)}, "found tensors"),
    ],
)
def test_files_that_are_no_fingerprints(
    tmp_path: Path, card: dict[str, Any], tensors: dict[str, Tensor], message: str
) -> None:
    path = tmp_path / "a.safetensors"
    _of(_residuals(2)).save(path)
    whole = {**read_card(path), **card}
    state = {**load_file(path), **tensors}
    path.write_bytes(save(state, metadata={CARD: json.dumps(whole)}))
    with pytest.raises(UserError, match=message):
        ResidualFingerprint.load(path)


def test_files_that_are_damaged_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="not a readable"):
        ResidualFingerprint.load(path)
    _of(_residuals(2)).save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="not a readable"):
        ResidualFingerprint.load(path)
