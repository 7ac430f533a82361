"""Extractors by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import pytest
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals import extractor as extractor_module
from artfp.passive.residuals import known_extractors, load_extractor


def test_every_extractor_is_found_by_its_own_text() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 32)
    before = x.clone()
    for text in known_extractors():
        extractor = load_extractor(text)
        residual = extractor(x)
        assert residual.shape == x.shape and residual.dtype == torch.float32
        assert torch.equal(x, before)
        again = load_extractor(extractor.text)
        assert again.settings == extractor.settings
        torch.testing.assert_close(again(x), residual)
        each = torch.cat([extractor(image[None]) for image in x])
        torch.testing.assert_close(each, residual, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian", "did you mean gaussian"),
        ("gaussian:size=3", "its settings are sigma"),
        ("gaussian:sigma", "its settings are sigma"),
        ("gaussian:sigma=wide", "sigma is 'wide', expected a number"),
        ("gaussian:sigma=0", "must be over 0"),
        ("wavelet:sigma=-1", "must be over 0"),
        ("wavelet:levels=0", "must be 1 or more"),
        ("wiener:side=4", "must be an odd number from 3 on"),
        ("wiener:sigma=-1", "must be 0 or more"),
        ("median:side=1", "must be an odd number from 3 on"),
    ],
)
def test_bad_names_say_what_is_known(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_extractor(text)


def halved(factor: float = 0.5) -> Callable[[Tensor], Tensor]:
    """An extractor of another package."""
    return lambda x: x * factor


def with_a_tensor(x: Tensor) -> Tensor:
    """A function that is no extractor: its parameter has no default."""
    return x


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = [
        metadata.EntryPoint(name, f"{__name__}:{function}", "artfp.extractors")
        for name, function in (("halved", "halved"), ("odd", "with_a_tensor"))
    ]
    others = metadata.entry_points

    def entry_points(**wanted: str) -> Any:
        return points if wanted.get("group") == "artfp.extractors" else others(**wanted)

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    extractor_module._factories.cache_clear()
    yield
    extractor_module._factories.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_other_packages_add_extractors(caplog: pytest.LogCaptureFixture) -> None:
    assert known_extractors()[-1] == "halved:factor=0.5"
    assert "odd" in caplog.text and "is not a residual extractor" in caplog.text
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(load_extractor("halved:factor=0.25")(x), x / 4)
