from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Callable, Collection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image, ImageCms

from artfp.core.errors import UserError
from artfp.data import predict_module
from artfp.data.geometry import Geometry, resize
from artfp.data.image_files import ImageError
from artfp.data.predict_module import (
    ImageBatch,
    PredictionData,
    default_workers,
    whole_image,
)
from artfp.data.sources import open_source

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def data_of(folder: Path, **options: Any) -> PredictionData:
    settings = {"resolution": 16, "batch_size": 3, "num_workers": 0, **options}
    return PredictionData(open_source(folder), settings.pop("geometry", Geometry()), **settings)


def batches_of(data: PredictionData, rank: int = 0, world: int = 1) -> list[ImageBatch]:
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world)  # type: ignore[assignment]
    return list(data.predict_dataloader())


def test_batches_hold_the_images_in_order(picture_folder: Path) -> None:
    batches = list(data_of(picture_folder, keep_full=True).predict_dataloader())
    assert [batch.positions for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, -1, -1]]
    assert [batch.skipped for batch in batches] == [[False] * 3, [False] * 3, [False, True, True]]
    for batch in batches:
        assert batch.small.shape == (3, 3, 16, 16) and batch.small.dtype == torch.uint8
        assert batch.small.is_contiguous(memory_format=torch.channels_last)
        assert batch.full == [None] * 3 and batch.errors == [None] * 3  # small already
        for slot, position in enumerate(batch.positions):
            if position < 0:
                assert not batch.small[slot].any() and batch.sizes[slot] == (0, 0)
                continue
            original = np.asarray(Image.open(picture_folder / f"{position}.png"))
            np.testing.assert_array_equal(batch.small[slot].permute(1, 2, 0).numpy(), original)
            assert batch.sizes[slot] == (16, 16)


def test_full_images_sizes_profiles_and_errors(
    tmp_path: Path, picture_bytes: Callable[..., bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(picture_bytes(1, 40, 30))
    (tmp_path / "b.png").write_bytes(b"text")
    Image.new("RGB", (16, 16), (1, 2, 3)).save(tmp_path / "c.png", icc_profile=SRGB)
    (batch,) = data_of(tmp_path, keep_full=True).predict_dataloader()
    original = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(batch.full[0], original)
    np.testing.assert_array_equal(batch.small[0].permute(1, 2, 0), resize(original, (16, 16)))
    assert batch.sizes == [(40, 30), (0, 0), (16, 16)]
    assert batch.errors[0] is None and "not a readable" in str(batch.errors[1])
    assert batch.full[1:] == [None, None] and not batch.small[1].any()
    assert batch.icc == [None, None, SRGB]
    (batch,) = data_of(tmp_path, keep_full=False).predict_dataloader()
    assert batch.full == [None] * 3
    (batch,) = data_of(tmp_path, geometry=Geometry(celeba=True)).predict_dataloader()
    assert "too small for the CelebA crop" in str(batch.errors[0])


def test_composition_depends_on_neither_done_nor_world(picture_folder: Path) -> None:
    reference = {batch.index: batch for batch in batches_of(data_of(picture_folder, batch_size=2))}
    names = open_source(picture_folder).names
    draw = random.Random(3)
    for _ in range(12):
        done = set(draw.sample(names, draw.randint(0, 7)))
        world = draw.randint(1, 4)
        seen: dict[int, ImageBatch] = {}
        for rank in range(world):
            for batch in batches_of(data_of(picture_folder, batch_size=2, done=done), rank, world):
                assert batch.index not in seen
                seen[batch.index] = batch
        handled = {
            names[position]
            for batch in seen.values()
            for position, skipped in zip(batch.positions, batch.skipped, strict=True)
            if not skipped
        }
        assert handled == set(names) - done
        for index, batch in seen.items():
            assert batch.positions == reference[index].positions
            for slot, skipped in enumerate(batch.skipped):
                expected = torch.zeros(3, 16, 16) if skipped else reference[index].small[slot]
                assert torch.equal(batch.small[slot], expected.to(torch.uint8))


def test_done_images_are_not_read(picture_folder: Path) -> None:
    data = data_of(picture_folder, done=["0.png", "3.png", "4.png", "5.png"])
    (picture_folder / "0.png").unlink()
    first, second = data.predict_dataloader()
    assert (first.index, second.index) == (0, 2)
    assert first.errors == [None] * 3 and first.skipped == [True, False, False]
    everything = data_of(picture_folder, done=open_source(picture_folder).names)
    assert list(everything.predict_dataloader()) == []


def test_workers_read_a_zip(picture_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(picture_folder.iterdir()):
            archive.write(path, path.name)
    source = open_source(tmp_path / "set.zip")
    source.read(0)  # its handle is open when the workers start
    data = PredictionData(source, Geometry(), 8, batch_size=2, num_workers=2, keep_full=True)
    alone = PredictionData(source, Geometry(), 8, batch_size=2, num_workers=0, keep_full=True)
    pairs = list(zip(data.predict_dataloader(), alone.predict_dataloader(), strict=True))
    assert len(pairs) == 4
    for one, other in pairs:
        assert torch.equal(one.small, other.small)
        assert one.small.is_contiguous(memory_format=torch.channels_last)
        assert one.positions == other.positions and one.skipped == other.skipped
        for full, expected in zip(one.full, other.full, strict=True):
            np.testing.assert_array_equal(full, expected)


class Echo(pl.LightningModule):
    def predict_step(self, batch: ImageBatch, batch_idx: int) -> ImageBatch:
        assert isinstance(batch, ImageBatch)
        return batch


@pytest.mark.filterwarnings("ignore:Total length of `DataLoader`")
@pytest.mark.parametrize("done", [(), ("0.png", "1.png", "2.png"), "all"])
def test_lightning_hands_batches_through(picture_folder: Path, done: Collection[str]) -> None:
    (picture_folder / "1.png").write_bytes(b"")
    if done == "all":
        done = open_source(picture_folder).names
    options: dict[str, Any] = {"resolution": 8, "keep_full": True, "done": done}
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    got = trainer.predict(Echo(), datamodule=data_of(picture_folder, **options))
    expected = list(data_of(picture_folder, **options).predict_dataloader())
    assert len(got or []) == len(expected) == {0: 3, 3: 2, 7: 0}[len(done)]
    for one, other in zip(got or [], expected, strict=True):
        assert torch.equal(one.small, other.small)
        for field in ("index", "positions", "icc", "sizes", "errors", "skipped"):
            assert getattr(one, field) == getattr(other, field)
        for full, wanted in zip(one.full, other.full, strict=True):
            assert (full is None) == (wanted is None)
            assert full is None or np.array_equal(full, wanted)


class Indices(pl.LightningModule):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> None:
        (self.folder / f"{self.global_rank}-{batch.index}").touch()


@pytest.mark.parametrize(
    ("done", "files"),
    [(["2.png", "3.png"], ["0-0", "0-3", "1-2"]), ([f"{i}.png" for i in range(6)], ["0-3"])],
)
def test_lightning_does_not_deal_twice(
    picture_folder: Path, tmp_path: Path, done: list[str], files: list[str]
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    data = data_of(picture_folder, batch_size=2, done=done)
    trainer.predict(Indices(seen), datamodule=data, return_predictions=False)
    assert sorted(os.listdir(seen)) == files


def test_to_moves_the_tensor_alone(picture_folder: Path) -> None:
    batch = next(iter(data_of(picture_folder).predict_dataloader()))
    moved = batch.to("meta")
    assert moved.small.device.type == "meta" and batch.small.device.type == "cpu"
    assert moved.positions == batch.positions


def test_default_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, workers in ((1, 0), (2, 2), (8, 8), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cpus: set(range(n)), raising=False)
        assert default_workers() == workers
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 0


@pytest.mark.parametrize("option", ["resolution", "batch_size", "num_workers"])
def test_numbers_out_of_range(picture_folder: Path, option: str) -> None:
    with pytest.raises(UserError, match=r"is -1; it must be \d or more"):
        data_of(picture_folder, **{option: -1})


def test_a_worker_is_silent_about_an_end_of_the_main_process_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from artfp.data.predict_module import _unless_abandoned

    for error in (EOFError(), ConnectionResetError(), BrokenPipeError()):
        _unless_abandoned(type(error), error, None)
    assert capsys.readouterr().err == ""
    _unless_abandoned(ValueError, ValueError("torn"), None)
    assert "torn" in capsys.readouterr().err


def test_a_single_batch_is_as_large_as_the_source(picture_folder: Path) -> None:
    (batch,) = data_of(picture_folder, batch_size=10**12).predict_dataloader()
    assert len(batch.positions) == len(open_source(picture_folder).names) == len(batch.small)


def test_whole_images_that_wait_are_bounded_by_their_pixels(
    tmp_path: Path, picture_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, side in enumerate((20, 30, 16, 10)):
        (tmp_path / f"{i}.png").write_bytes(picture_bytes(i, side, side))
    options: dict[str, Any] = {"batch_size": 4, "keep_full": True}
    (expected,) = data_of(tmp_path, **options).predict_dataloader()
    monkeypatch.setattr(predict_module, "_WAITING_PIXELS", 20 * 20 + 10 * 10)
    (batch,) = data_of(tmp_path, **options).predict_dataloader()
    assert [full is None for full in batch.full] == [False, True, True, False]
    assert batch.sizes == expected.sizes and torch.equal(batch.small, expected.small)
    source = open_source(tmp_path)
    for slot in range(4):
        whole = whole_image(batch, slot, source, Geometry())
        np.testing.assert_array_equal(whole, expected.full[slot])
    assert whole_image(batch, 2, source, Geometry()) is None
    (tmp_path / "1.png").write_bytes(picture_bytes(1, 31, 30))
    with pytest.raises(ImageError, match="has changed"):
        whole_image(batch, 1, source, Geometry())
    (tmp_path / "1.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        whole_image(batch, 1, source, Geometry())


def test_any_error_of_one_image_is_its_own(
    picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter([MemoryError(), OverflowError("too wide"), None])

    def fails(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if (error := next(calls)) is not None:
            raise error
        return pixels

    monkeypatch.setattr(predict_module, "resize", fails)
    batch = next(iter(data_of(picture_folder).predict_dataloader()))
    assert batch.errors == ["not enough memory for the image", "damaged image: too wide", None]


def test_transparent_images_are_marked(tmp_path: Path) -> None:
    for name, alpha in (("a", 255), ("b", 100)):
        Image.new("RGBA", (16, 16), (9, 9, 9, alpha)).save(tmp_path / f"{name}.png")
    (batch,) = data_of(tmp_path).predict_dataloader()
    assert batch.composited == [False, True]


def test_batches_go_to_other_processes_without_shared_memory(
    picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(storage: torch.UntypedStorage) -> None:
        raise RuntimeError("unable to allocate shared memory (shm)")

    framed = np.full((60, 80, 3), 9, np.uint8)
    framed[10:50, 5:75] = np.random.default_rng(0).integers(99, 255, (40, 70, 3))
    Image.fromarray(framed).save(picture_folder / "framed.png")
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", refuse)
    pictures = 0
    options = {"keep_full": True, "find_borders": True}
    for batch in data_of(picture_folder, **options).predict_dataloader():
        found = pickle.loads(ForkingPickler.dumps(batch))
        if batch.pictures is not None:
            pictures += len(batch.pictures)
            assert torch.equal(found.pictures, batch.pictures)
        assert torch.equal(found.small, batch.small) and found.positions == batch.positions
        assert found.small.is_contiguous(memory_format=torch.channels_last)
    assert pictures == 1
