"""Subsets of a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfp.core.errors import UserError
from artfp.data import open_source
from artfp.data.subset import limited


def test_a_limit_draws_by_name_alone(photo_folder: Path, tmp_path: Path) -> None:
    whole = open_source(photo_folder)
    some = limited(whole, 30)
    assert len(some) == len(some.names) == 30 and some.names == sorted(some.names)
    assert some.names != whole.names[:30] and set(some.names) < set(whole.names)
    for index in (0, 29):
        assert some.read(index) == (photo_folder / some.names[index]).read_bytes()
    # The same names are drawn from another folder, and fewer of them are among them.
    for name in whole.names:
        (tmp_path / name).write_bytes(b"other")
    assert limited(open_source(tmp_path), 30).names == some.names
    assert set(limited(whole, 10).names) < set(some.names)


def test_no_limit_and_bad_ones(photo_folder: Path) -> None:
    whole = open_source(photo_folder)
    assert limited(whole, None) is whole and limited(whole, 120) is whole
    with pytest.raises(UserError, match="limit is 0"):
        limited(whole, 0)
