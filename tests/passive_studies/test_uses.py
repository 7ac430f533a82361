"""Uses of images: equal files with two uses are found."""

from __future__ import annotations

import logging

import pytest

from artfp.passive_studies.uses import ImageUse, shared_images, warn_of_shared

USES = [
    ImageUse("dcgan", "0.png", "training", "aa"),
    ImageUse("dcgan", "1.png", "test", "bb"),
    ImageUse("real", "0.png", "test", "aa"),
    ImageUse("real", "1.png", "unused"),
    ImageUse("real", "2.png", "test", "bb"),
]


def test_equal_files_with_different_uses() -> None:
    assert shared_images(USES[:1], USES[1:]) == [(USES[0], USES[2])]
    assert shared_images(USES[1:2], USES[2:]) == []  # both test
    assert shared_images([USES[3]], [USES[3]]) == []  # not read


def test_a_leak_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "artfp"):
        warn_of_shared(USES)
        (record,) = caplog.records
        assert (
            "test images are also used for something else (1), such as real/0.png (training: "
            in (record.getMessage())
        )
        warn_of_shared(USES[1:])
    assert len(caplog.records) == 1
