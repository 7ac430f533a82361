"""Subsets of a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfp.core.errors import UserError
from artfp.data import open_source
from artfp.data.subset import half_of, limit_images, split_sources


def test_a_limit_draws_by_name_alone(photo_folder: Path, tmp_path: Path) -> None:
    whole = open_source(photo_folder)
    some = limit_images(whole, 30)
    assert len(some) == len(some.names) == 30 and some.names == sorted(some.names)
    assert some.names != whole.names[:30] and set(some.names) < set(whole.names)
    for index in (0, 29):
        assert some.read(index) == (photo_folder / some.names[index]).read_bytes()
    # The same names are drawn from another folder, and fewer of them are among them.
    for name in whole.names:
        (tmp_path / name).write_bytes(b"other")
    assert limit_images(open_source(tmp_path), 30).names == some.names
    assert set(limit_images(whole, 10).names) < set(some.names)


def test_no_limit_and_bad_ones(photo_folder: Path) -> None:
    whole = open_source(photo_folder)
    assert limit_images(whole, None) is whole and limit_images(whole, 120) is whole
    with pytest.raises(UserError, match="limit is 0"):
        limit_images(whole, 0)


def test_a_split_halves_the_smallest_source_by_itself(photo_folder: Path) -> None:
    whole = open_source(photo_folder)
    sources = {"a": whole, "b": limit_images(whole, 41)}
    fitted, tested = split_sources(sources, None, 488)
    assert [len(fitted[name]) for name in "ab"] == [20, 20]
    assert [len(tested[name]) for name in "ab"] == [100, 21]
    assert not set(fitted["a"].names) & set(tested["a"].names)
    assert [half_of(images) for images in (999, 1000, 5000)] == [499, 512, 512]
    with pytest.raises(UserError, match=r"120 images; 120 shall fit .* give fewer \(--fit, --test"):
        split_sources(sources, 120, 1)
