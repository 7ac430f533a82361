"""Bit accuracies and verdicts of generated images against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from artfp.core.errors import UserError
from artfp.data import open_source
from artfp.transfer.decoded import bit_accuracies, decode_source, transferred
from artfp.watermark import Watermark
from artfp.watermark.api import decode_batch

BITS = 32


def logits_with(wrong: list[int], word: np.ndarray) -> np.ndarray:
    """Logits of equal size, of which the first `wrong[i]` of image i are wrong."""
    signs = np.where(word > 0, 2.0, -2.0).astype(np.float32)
    rows = np.tile(signs, (len(wrong), 1))
    for row, count in zip(rows, wrong, strict=True):
        row[:count] *= -1
    return rows


@pytest.fixture
def word() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2, BITS).astype(np.uint8)


def test_bit_accuracies(word: np.ndarray) -> None:
    logits = logits_with([0, 1, 8, 32], word)
    assert bit_accuracies(logits, word).tolist() == [1.0, 1 - 1 / 32, 0.75, 0.0]
    each = np.stack([word, word, word, 1 - word])
    assert bit_accuracies(logits, each)[3] == 1.0


def test_figures_of_images(word: np.ndarray) -> None:
    wrong = [0, 1, 2, 3, 0] * 20
    found = transferred(logits_with(wrong, word), word)
    shares = 1 - np.array(wrong) / BITS
    assert found.images == 100 and found.bits == BITS
    assert found.bit_accuracy == pytest.approx(shares.mean())
    assert found.error == pytest.approx(shares.std(ddof=1) / 10)
    assert (found.low, found.high) == pytest.approx((shares.min(), 1.0))
    assert found.majority == 31 / 32  # the first bit is wrong in most of them
    assert [v.images for v in found.verdicts] == [1, 10, 100]
    assert [v.groups for v in found.verdicts] == [100, 10, 1]


def test_verdicts_are_binomial_where_logits_are_of_one_size(word: np.ndarray) -> None:
    # Equal logits make the soft statistic a count, whose tail is exact.
    found = transferred(logits_with([3] * 20, word), word, registered=1000, alpha=2e-3)
    one = found.on(1)
    assert one is not None and one.groups == 20
    tail = math.log10(stats.binom.sf(BITS - 3 - 1, BITS, 0.5))
    assert one.log10_p == pytest.approx(tail, abs=0.02)
    assert one.log10_p_corrected == pytest.approx(tail + 3.0, abs=0.02)
    assert one.found == 1.0 and found.on(100) is None
    strict = transferred(logits_with([3] * 20, word), word, registered=10**6, alpha=1e-6).on(1)
    assert strict is not None and strict.found == 0.0
    both = logits_with([3] * 10 + [16] * 10, word)
    mixed = transferred(both, word, registered=1000, alpha=2e-3).on(1)
    assert mixed is not None and mixed.found == 0.5


def test_unmarked_images_are_not_found(word: np.ndarray) -> None:
    logits = np.random.default_rng(0).normal(size=(500, BITS)).astype(np.float32)
    found = transferred(logits, word)
    assert abs(found.bit_accuracy - 0.5) < 0.02
    assert all(verdict.found == 0.0 and verdict.log10_p > -3.0 for verdict in found.verdicts)


def test_wrong_shapes_are_refused(word: np.ndarray) -> None:
    for logits in (np.zeros((0, BITS), np.float32), np.zeros((3, 5), np.float32)):
        with pytest.raises(ValueError, match="logits of shape"):
            transferred(logits, word)


def test_a_source_is_decoded_in_its_order(
    pair: Watermark, photo_folder: Path, tmp_path: Path
) -> None:
    for name in ("000.png", "001.png", "002.png"):
        (tmp_path / name).write_bytes((photo_folder / name).read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no image")
    logits, failed = decode_source(pair.decoder, open_source(tmp_path))
    assert [name for name, _ in failed] == ["bad.png"]
    pixels = np.stack([np.asarray(Image.open(p)) for p in sorted(tmp_path.glob("0*.png"))])
    expected = decode_batch(pair.decoder, torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    assert np.array_equal(logits > 0, expected > 0)
    assert len(decode_source(pair.decoder, open_source(tmp_path), limit=2)[0]) == 2


def test_a_source_of_nothing_usable_is_refused(pair: Watermark, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of 1 images can be read"):
        decode_source(pair.decoder, open_source(tmp_path))
