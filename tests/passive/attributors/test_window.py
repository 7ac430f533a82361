"""What is done about sizes."""

from __future__ import annotations

import pytest
import torch

from artfp.core.errors import UserError
from artfp.passive.attributors.window import (
    ALIGNED,
    SHIFT,
    SPECTRUM,
    WindowPolicy,
    central_window,
    choose_policy,
)


def test_one_size_is_aligned_and_several_are_not() -> None:
    one = choose_policy({"a": [(32, 40)] * 9, "b": [(32, 40)]})
    assert one == WindowPolicy(ALIGNED, (32, 40), (32, 40))
    two = choose_policy({"a": [(32, 40)] * 9, "b": [(50, 36)]})
    assert two == WindowPolicy(SPECTRUM, (32, 36), (32, 36))
    assert choose_policy({"a": [(32, 40)], "b": [(50, 36)]}, ALIGNED).kind == ALIGNED


def test_a_few_small_images_do_not_shrink_the_window() -> None:
    sizes = [(200, 300)] * 96 + [(20, 30)] * 4
    assert choose_policy({"a": sizes, "b": [(250, 250)] * 5}).window == (200, 250)
    sizes = [(200, 300)] * 90 + [(20, 30)] * 10
    assert choose_policy({"a": sizes, "b": [(250, 250)] * 5}).window == (20, 30)


def test_large_images_have_a_window_that_memory_holds() -> None:
    sizes = {"a": [(1024, 1024)], "b": [(1024, 1024)]}
    assert choose_policy(sizes).window == (256, 256)
    assert choose_policy(sizes, window=1024).window == (1024, 1024)
    assert choose_policy(sizes, SHIFT) == WindowPolicy(SHIFT, (1024, 1024), (768, 768))


def test_windows_that_are_asked_for() -> None:
    """Windows of aligned images stand in one place, others come from anywhere."""
    sizes = {"a": [(64, 64)], "b": [(64, 64)]}
    assert choose_policy(sizes, window=40) == WindowPolicy(ALIGNED, (40, 40), (40, 40))
    assert choose_policy(sizes, SPECTRUM, 40) == WindowPolicy(SPECTRUM, (64, 64), (40, 40))
    assert choose_policy(sizes, SPECTRUM) == WindowPolicy(SPECTRUM, (64, 64), (64, 64))


def test_shift_leaves_room() -> None:
    assert choose_policy({"a": [(32, 32)], "b": [(32, 32)]}, SHIFT).window == (24, 24)
    found = choose_policy({"a": [(64, 64)], "b": [(64, 64)]}, SHIFT, 40)
    assert found == WindowPolicy(SHIFT, (64, 64), (40, 40))
    assert "window 40x40 in fingerprints of 64x64" in found.describe()


@pytest.mark.parametrize(
    ("kind", "window", "message"),
    [
        ("centre", None, "policy 'centre': choose from aligned, shift, spectrum"),
        (None, 7, "must be 8 pixels or more"),
        (None, 33, "a source has images of 40x32"),
        (SHIFT, 40, "a source has images of"),
    ],
)
def test_refused(kind: str | None, window: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_policy({"a": [(32, 40)], "b": [(32, 40)]}, kind, window)
    with pytest.raises(UserError, match="8 pixels a side are needed"):
        choose_policy({"a": [(7, 40)], "b": [(32, 40)]})


def test_windows_are_cut_on_the_grid_and_never_resized() -> None:
    x = torch.arange(3 * 70 * 90).view(1, 3, 70, 90)
    policy = WindowPolicy(ALIGNED, (32, 32), (32, 32))
    assert torch.equal(policy.crop(x), x[..., 16:48, 16:48])
    assert torch.equal(policy.crop(x[..., :63, :32]), x[..., :32, :32])
    pixels = x[0].permute(1, 2, 0).numpy()
    assert (central_window(pixels, (32, 32), (0, 1)) == pixels[16:48, 16:48]).all()
    assert policy.refuses(32, 32) is None and "31x40 is smaller" in str(policy.refuses(40, 31))
    with pytest.raises(ValueError, match="smaller than the attributor's window, 32x32"):
        policy.crop(x[..., :31, :])


def test_card_and_back() -> None:
    policy = WindowPolicy(SHIFT, (64, 48), (40, 40))
    assert WindowPolicy.load(policy.card()) == policy
    with pytest.raises(ValueError, match="policy 'x'"):
        WindowPolicy.load({**policy.card(), "kind": "x"})
