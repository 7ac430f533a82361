"""Batches for generative models: streams, labels, domains, the images kept in memory."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data import sources
from artfp.data.sources import open_source
from artfp.data.train_module import TrainingData
from artfp.generators.trained_network import DataBatch
from artfp.generators.training.data import GenerativeData, labels_of


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two folders of flat images: grey 0 to 9 in `dark`, 100 to 106 in `light`."""
    for name, begin, count in (("dark", 0, 10), ("light", 100, 7)):
        (tmp_path / "flat" / name).mkdir(parents=True)
        for level in range(begin, begin + count):
            image = Image.new("RGB", (12, 9), (level,) * 3)
            image.save(tmp_path / "flat" / name / f"{level:03}.png")
    return tmp_path / "flat"


def batches(
    data: GenerativeData, steps: int, start: int = 0, rank: int = 0, world: int = 1
) -> list[DataBatch]:
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_step=start, global_rank=rank, world_size=world
    )
    return list(itertools.islice(data.train_dataloader(), steps))


def levels(images: torch.Tensor) -> list[int]:
    assert images.dtype == torch.uint8 and (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_all_images_are_shown_and_none_is_held_out(flat: Path) -> None:
    data = GenerativeData([open_source(flat)], 8, 5, seed=3)
    assert len(data) == 17
    got = batches(data, 34)
    assert got[0].x.shape == (5, 3, 8, 8) and got[0].labels is None
    seen = [level for batch in got for level in levels(batch.x)]
    everything = sorted([*range(10), *range(100, 107)])
    for epoch in range(10):
        assert sorted(seen[17 * epoch : 17 * epoch + 17]) == everything
    later = batches(GenerativeData([open_source(flat)], 8, 5, seed=3), 3, start=20)
    assert [levels(b.x) for b in later] == [levels(b.x) for b in got[20:23]]
    assert levels(data.first(3).x) == levels(got[0].x)[:3]
    assert levels(data.first(13).x) == [level for b in got[:3] for level in levels(b.x)][:13]
    shared = batches(GenerativeData([open_source(flat)], 8, 5, seed=3), 4, rank=1, world=2)
    assert [levels(b.x) for b in shared] == [levels(b.x) for b in got[1:8:2]]


def test_labels_are_those_of_the_folders(flat: Path) -> None:
    source = open_source(flat)
    labels, names = labels_of(source)
    assert names == ["dark", "light"] and labels == [0] * 10 + [1] * 7
    for batch in batches(GenerativeData([source], 8, 6, labels=labels), 6):
        assert batch.labels is not None and batch.labels.dtype == torch.int64
        assert batch.labels.tolist() == [int(level >= 100) for level in levels(batch.x)]
    first = GenerativeData([source], 4, 3, labels=labels).first(8)
    assert first.labels is not None and len(first.labels) == len(first) == 8
    assert first.labels.tolist() == [int(level >= 100) for level in levels(first.x)]


def test_an_unreadable_image_gives_its_place_with_the_label(flat: Path) -> None:
    for level in (3, 4, 9):
        (flat / "dark" / f"{level:03}.png").write_bytes(b"no image")
    source = open_source(flat)
    got = batches(GenerativeData([source], 8, 6, labels=labels_of(source)[0]), 12)
    seen = {level for batch in got for level in levels(batch.x)}
    assert seen == {*range(10), *range(100, 107)} - {3, 4, 9}
    for batch in got:
        assert batch.labels is not None
        assert batch.labels.tolist() == [int(level >= 100) for level in levels(batch.x)]


@pytest.mark.parametrize("form", [list, dict])
def test_labels_of_a_stylegan_data_set_come_first(flat: Path, form: Any) -> None:
    pairs = [[name, int(name[-7:-4]) % 3] for name in open_source(flat).names]
    (flat / "dataset.json").write_text(json.dumps({"labels": form(pairs)}))
    labels, names = labels_of(open_source(flat))
    assert names == ["0", "1", "2"] and labels == [label for _, label in pairs]


def test_labels_that_are_missing(flat: Path) -> None:
    with pytest.raises(UserError, match="all images are of one class; this model needs two"):
        labels_of(sources.FileSource("x", {"a/1.png": "1", "a/b/2.png": "2"}))
    with pytest.raises(UserError, match=r"'000\.png' lies in no folder; this model needs a folder"):
        labels_of(open_source(flat / "dark"))
    for bad in ([["dark/000.png", 1]], [[1]], [["dark/000.png", "x"]], "text"):
        (flat / "dataset.json").write_text(json.dumps({"labels": bad}))
        with pytest.raises(UserError, match=r"dataset\.json does not give every image a class"):
            labels_of(open_source(flat))
    for wrong in (-1, 17):
        pairs = [[name, wrong] for name in open_source(flat).names]
        (flat / "dataset.json").write_text(json.dumps({"labels": pairs}))
        with pytest.raises(UserError, match=f"has the class {wrong}; expected 0 to 16"):
            labels_of(open_source(flat))


def test_domains_do_not_meet_in_one_order(flat: Path) -> None:
    data = GenerativeData([open_source(flat / "dark")] * 2, 8, 10)
    for batch in batches(data, 3):
        one, two = (levels(images) for images in batch.images)
        assert sorted(one) == sorted(two) == list(range(10)) and one != two
    mixed = GenerativeData([open_source(flat / "dark"), open_source(flat / "light")], 8, 4)
    for batch in batches(mixed, 5):
        one, two = (levels(images) for images in batch.images)
        assert max(one) < 10 and min(two) >= 100


def test_mirroring_is_a_choice_and_crops_are_none(tmp_path: Path) -> None:
    ramp = np.zeros((8, 12, 3), np.uint8)
    ramp[..., 0] = np.arange(12) * 10
    for number in range(4):
        Image.fromarray(ramp + np.uint8(number)).save(tmp_path / f"{number}.png")
    plain = batches(GenerativeData([open_source(tmp_path)], 8, 4, mirror=False), 20)
    whole = {image.numpy().tobytes() for batch in plain for image in batch.x}
    assert len(whole) == 4
    kinds = [i for b in batches(GenerativeData([open_source(tmp_path)], 8, 4), 50) for i in b.x]
    turned = [image[0, 0, 0] > image[0, 0, -1] for image in kinds]
    assert abs(sum(map(int, turned)) - 100) < 4 * 7
    for image, mirrored in zip(kinds, turned, strict=True):
        assert (image.flip(2) if mirrored else image).numpy().tobytes() in whole


def test_images_kept_in_memory_are_read_once(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = sources.FileSource.read

    def counting(self: Any, index: int) -> bytes:
        reads.append(index)
        return read(self, index)

    monkeypatch.setattr(sources.FileSource, "read", counting)

    def stream(**options: Any) -> tuple[list[torch.Tensor], int]:
        data = TrainingData(
            open_source(flat), 8, batch_size=17, crops=False, hold_out=False, **options
        )
        reads.clear()
        return list(itertools.islice(data.stream(0), 4)), len(reads)

    enough = 17 * 3 * 64
    once, few = stream(memory=enough)
    again, many = stream(memory=enough - 1, num_workers=0)
    assert (few, many) == (17, 68)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    cropped = TrainingData(open_source(flat), 8, crops=True, memory=enough)
    assert not cropped.keep and TrainingData(open_source(flat), 8, crops=False, memory=enough).keep
    assert not TrainingData(open_source(flat), 8, None, 4, 2, crops=False, memory=enough).keep


def test_the_digest_tells_data_from_data(flat: Path) -> None:
    digest = GenerativeData([open_source(flat)], 8, 4).digest()
    assert digest == GenerativeData([open_source(flat)], 16, 2).digest() and len(digest) == 64
    Image.new("RGB", (12, 9), (77,) * 3).save(flat / "dark" / "004.png")
    changed = GenerativeData([open_source(flat)], 8, 4).digest()
    (flat / "dark" / "004.png").rename(flat / "dark" / "0041.png")
    assert len({digest, changed, GenerativeData([open_source(flat)], 8, 4).digest()}) == 3
