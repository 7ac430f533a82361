"""Extractors by name."""

from __future__ import annotations

import pytest
import torch

from artfp.core.errors import UserError
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
