"""The parts of a secrecy study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.data.sources import open_source
from artfp.metrics.fidelity import psnr
from artfp.secrecy import study as secrecy
from artfp.secrecy.study import (
    AttackedEncoder,
    attacks_on,
    draw_images,
    embed_messages,
    gain_for_psnr,
    random_messages,
    run_attacks,
)
from artfp.watermark import Encoder, build_pair, load_encoder


@pytest.fixture
def encoder(weights: Path) -> Encoder:
    return load_encoder(weights / "encoder.safetensors")[0]


def test_no_original_twice_and_the_same_for_any_size(photo_folder: Path) -> None:
    source = open_source(photo_folder)
    few, _ = draw_images(source, 48, 10, 20, seed=1)
    many, failed = draw_images(source, 48, 40, 20, seed=1)
    parts = [many.clean, many.to_mark, many.test_clean, many.test_to_mark]
    assert [len(part) for part in parts] == [40, 40, 20, 20] and failed == []
    assert len({image.numpy().tobytes() for part in parts for image in part}) == 120
    assert torch.equal(few.clean, many.clean[:10])
    assert torch.equal(few.to_mark, many.to_mark[:10])
    assert torch.equal(few.test_to_mark, many.test_to_mark)


def test_too_few_images(photo_folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 120 usable images; 50 clean .* take 140; lower --s"):
        draw_images(open_source(photo_folder), 48, 50, 20)


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("target", [28.0, 36.0])
def test_scaled_to_a_psnr(encoder: Encoder, photo_folder: Path, side: int, target: float) -> None:
    images = draw_images(open_source(photo_folder), side, 20, 20)[0].test_clean
    gain = gain_for_psnr(encoder, images, target)
    marked = embed_messages(encoder, images, random_messages(20, encoder.bits, 7), gain)
    assert marked.dtype == torch.uint8 and marked.shape == images.shape
    found = float(psnr(to_unit(marked), to_unit(images)).mean())
    assert found == pytest.approx(target, abs=0.3)  # the messages are others


def test_what_an_attacker_gets(
    encoder: Encoder, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each threat trains on the images that it says, and the test's are the owner's."""
    other = build_pair("residual", 24, 32, seed=8)[0].eval()
    calls: list[tuple[Encoder, Tensor, int]] = []
    real = secrecy.embed_messages

    def spy(by: Encoder, pixels: Tensor, messages: Tensor, gain: float = 1.0) -> Tensor:
        calls.append((by, messages, len(pixels)))
        return real(by, pixels, messages, gain)

    sizes: list[tuple[int, ...]] = []

    def attacker(training: tuple[Any, ...], validation: tuple[Any, ...], seed: int) -> object:
        sizes.append(tuple(map(len, (*training, *validation))))
        return lambda x: x.double().mean(dim=(1, 2, 3)).numpy()

    monkeypatch.setattr(secrecy, "embed_messages", spy)
    monkeypatch.setitem(secrecy.ATTACKERS, "lda", attacker)
    target = AttackedEncoder("mine", encoder, other)
    todo = attacks_on(target, [30, 20], ["lda"])
    assert [(c.threat, c.images) for c in todo[:2]] == [(secrecy.THREATS[0], n) for n in (20, 30)]
    attack_images = draw_images(open_source(photo_folder), 32, 30, 20)[0]
    rows = list(run_attacks(target, todo, attack_images))
    assert [row.attack for row in rows] == todo
    assert all(row.low < row.auc < row.high and row.test_images == 20 for row in rows)
    assert sizes == [(16, 16, 4, 4), (24, 24, 6, 6)] * 3
    assert [by for by, *_ in calls] == [encoder] * 4 + [other, encoder]
    assert [count for *_, count in calls] == [30, 20] * 3
    same, same_test, random, random_test, _, owners = (np.unique(w, axis=0) for _, w, _ in calls)
    assert np.array_equal(same, same_test) and len(same) == 1
    assert len(random) == 30 and len(random_test) == len(owners) == 20
    assert not {w.tobytes() for w in random} & {w.tobytes() for w in random_test}
