"""The stream of training images: its split, its order, its crops."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data import train_module
from artfp.data.geometry import Geometry, resize
from artfp.data.sources import open_source
from artfp.data.train_module import TrainingData, _vary, split_names


def data_of(folder: Path, **options: Any) -> TrainingData:
    settings = {"resolution": 16, "batch_size": 4, "num_workers": 0, "seed": 3, **options}
    return TrainingData(open_source(folder), **settings)


def stream(
    data: TrainingData, steps: int, start: int = 0, rank: int = 0, world: int = 1
) -> list[Tensor]:
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=world, global_step=start
    )
    return list(itertools.islice(data.train_dataloader(), steps))


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Thirty flat images; the grey of each is its number times 8."""
    for number in range(30):
        Image.new("RGB", (20, 20), (8 * number,) * 3).save(tmp_path / f"{number:02}.png")
    return tmp_path


def numbers(batch: Tensor) -> list[int]:
    """Which images of `numbered` a batch holds."""
    assert (batch == batch[:, :1, :1, :1]).all()
    return (batch[:, 0, 0, 0] // 8).tolist()


def test_split_sizes() -> None:
    names = [f"folder/{i}.png" for i in range(4000)]
    training, validation = split_names(names)
    assert sorted(training + validation) == list(range(4000))
    assert abs(len(validation) - 200) < 4 * (4000 * 0.05 * 0.95) ** 0.5
    training, validation = split_names([f"{i}" for i in range(40_000)])
    assert len(validation) == 512 and len(training) == 40_000 - 512
    for count in (2, 3, 10):
        training, validation = split_names(names[:count], fraction=0.0)
        assert len(validation) == 1 and len(training) == count - 1
        training, validation = split_names(names[:count], fraction=1.0)
        assert len(training) == 1 and len(validation) == count - 1


def test_split_goes_by_the_name_alone() -> None:
    rng = np.random.default_rng(0)
    names = [f"{i}.png" for i in range(2000)]
    aside = {names[i] for i in split_names(names)[1]}
    for _ in range(5):
        some = [names[i] for i in rng.permutation(2000)[:1200]] + [f"new{i}" for i in range(500)]
        assert {some[i] for i in split_names(some)[1]} & set(names) == aside & set(some)


def test_split_of_names_that_are_no_text() -> None:
    assert len(split_names(["odd-\udcff.png", "b.png"])[1]) == 1


def test_each_epoch_shows_each_image_once(numbered: Path) -> None:
    data = data_of(numbered)
    count = len(data.training_indices)
    assert count + len(data.validation_indices) == 30
    seen = [n for batch in stream(data, 3 * count) for n in numbers(batch)]  # 12 epochs
    orders = [seen[i : i + count] for i in range(0, len(seen), count)]
    assert all(sorted(order) == data.training_indices for order in orders)
    assert orders[0] != orders[1]
    other = stream(data_of(numbered, seed=4), 5)
    assert seen[:20] != [n for batch in other for n in numbers(batch)]
    assert data.steps_per_epoch == count // 4


@pytest.mark.parametrize("workers", [0, 2])
def test_the_stream_can_be_taken_up_at_any_step(photo_folder: Path, workers: int) -> None:
    whole = stream(data_of(photo_folder), 40)
    for start in (0, 1, 17, 33):
        later = stream(data_of(photo_folder, num_workers=workers), 3, start)
        for got, expected in zip(later, whole[start:], strict=False):
            assert torch.equal(got, expected)
    assert whole[0].shape == (4, 3, 16, 16) and whole[0].dtype == torch.uint8
    assert len({batch.numpy().tobytes() for batch in whole}) == 40


def test_ranks_share_the_stream(numbered: Path) -> None:
    alone = [numbers(b) for b in stream(data_of(numbered), 12)]
    for rank in range(3):
        shared = stream(data_of(numbered), 4, rank=rank, world=3)
        assert [numbers(b) for b in shared] == alone[rank::3]
    later = stream(data_of(numbered), 2, start=2, rank=1, world=3)
    assert [numbers(b) for b in later] == alone[7::3][:2]


def test_crops_are_not_enlarged_without_need() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:50, 0:90].astype(np.uint8)
    image = np.stack([rows, columns, rows], -1)
    shapes, mirrored, corners = set(), 0, set()
    for _ in range(400):
        crop = _vary(image, 40, rng)
        height, width = crop.shape[:2]
        shapes.add((height, width))
        backwards = crop[0, 0, 1] > crop[0, -1, 1]
        mirrored += backwards
        piece = crop[:, ::-1] if backwards else crop
        top, left = int(piece[0, 0, 0]), int(piece[0, 0, 1])
        corners.add((top, left))
        np.testing.assert_array_equal(piece, image[top : top + height, left : left + width])
    heights, widths = zip(*shapes, strict=True)
    assert (min(heights), max(heights)) == (40, 50)  # 0.6 of 50 is less than the resolution
    assert (min(widths), max(widths)) == (54, 90)
    assert len(corners) > 100
    assert abs(mirrored - 200) < 4 * 10
    for _ in range(20):  # smaller than the resolution: as a whole
        assert _vary(image, 64, rng).shape[0] == 50


def test_a_geometry_is_used_as_it_is(photo_folder: Path) -> None:
    data = data_of(photo_folder, geometry=Geometry(image_resolution=16))
    expected = {
        resize(np.asarray(Image.open(path)), (16, 16)).transpose(2, 0, 1).tobytes()
        for path in photo_folder.iterdir()
    }
    assert all(image.numpy().tobytes() in expected for b in stream(data, 60) for image in b)
    varied = stream(data_of(photo_folder), 5)
    assert not any(image.numpy().tobytes() in expected for b in varied for image in b)


def test_validation_images_are_whole_and_in_order(photo_folder: Path) -> None:
    data = data_of(photo_folder, batch_size=2)
    paths = sorted(photo_folder.iterdir())
    got = torch.cat(list(data.val_dataloader()))
    assert len(got) == len(data.validation_indices)
    for image, index in zip(got, data.validation_indices, strict=True):
        expected = resize(np.asarray(Image.open(paths[index])), (16, 16))
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_unreadable_images_are_named_once_and_replaced(
    numbered: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_of(numbered)
    bad = [f"{data.training_indices[i]:02}.png" for i in (0, 5, 6)]
    for name in bad:
        (numbered / name).write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "artfp"):
        seen = [n for batch in stream(data, 40) for n in numbers(batch)]
    assert set(seen) == set(data.training_indices) - {int(name[:2]) for name in bad}
    assert data.left_out == sorted(bad) and data.training_images == len(data.training_indices) - 3
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    for name in bad:
        assert sum(f"left out '{name}': " in line for line in told) == 1
    assert data.left_out == sorted(bad)


def test_images_left_out_by_loader_processes_are_known(
    numbered: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = data_of(numbered, num_workers=2)
    bad = f"{data.training_indices[1]:02}.png"
    (numbered / bad).write_bytes(b"no image")
    stream(data, 20)
    assert data.left_out == [bad]


def test_transparency_is_told_once(numbered: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in numbered.iterdir():
        Image.open(path).convert("RGBA").point(lambda level: level // 2).save(path)
    stream(data_of(numbered), 10)
    assert len([line for line in caplog.messages if "composited over white" in line]) == 1


def test_nothing_can_be_read(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="3 of 3 images could not be read; training needs two"):
        data_of(tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_images_left_out_are_not_counted(photo_folder: Path, tmp_path: Path, workers: int) -> None:
    """Neither those whose headers are none, nor those whose pixels are cut off."""
    for number in range(9):
        shutil.copy(photo_folder / f"{number:03}.png", tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no image")
    data = data_of(tmp_path, num_workers=workers)
    assert data.left_out == ["bad.png"] and data.training_images == 8
    name = data.source.names[data.training_indices[2]]
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-300])
    stream(data, 6)
    assert data.left_out == [name, "bad.png"] and data.training_images == 7


def test_one_image_is_not_enough(tmp_path: Path, picture_bytes: Callable[..., bytes]) -> None:
    (tmp_path / "a.png").write_bytes(picture_bytes())
    with pytest.raises(UserError, match="holds 1 image; training needs two"):
        data_of(tmp_path)


def no_shared_memory(*_: object, **__: object) -> None:
    raise RuntimeError("unable to allocate shared memory(shm)")


@pytest.mark.parametrize("labelled", [False, True])
def test_batches_need_no_shared_memory(
    numbered: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    labels = list(range(len(list(numbered.iterdir())))) if labelled else None
    expected: list[Any] = stream(data_of(numbered, labels=labels), 4)
    data = data_of(numbered, labels=labels, num_workers=1)
    monkeypatch.setattr(torch.multiprocessing.reductions, "reduce_storage", no_shared_memory)
    monkeypatch.setattr(torch.UntypedStorage, "_new_using_fd_cpu", no_shared_memory)
    found: list[Any] = stream(data, 4)
    for one, other in zip(found, expected, strict=True):
        for part, wanted in zip(one, other, strict=True) if labelled else [(one, other)]:
            assert torch.equal(part, wanted) and part.dtype == wanted.dtype


@pytest.mark.parametrize("workers", [0, 2])
def test_large_images_are_decoded_within_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    for number in range(4):
        Image.new("RGB", (1300, 1000), (number, 0, 0)).save(tmp_path / f"{number}.bmp")
    monkeypatch.setattr(train_module, "DECODED_PIXELS", 1)  # one at a time
    assert len(stream(data_of(tmp_path, num_workers=workers), 4)) == 4
