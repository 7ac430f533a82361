"""Images of sources: each once, of one size, and those that cannot be used named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.sources import open_sources
from artfp.passive_studies.marra2019.images import SourceImages
from tests.passive_studies.marra2019.planted import COUNT


def test_images_of_another_size_are_named(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            size = (20, 24) if (name, number) == ("b", 5) else (24, 24)
            Image.new("RGB", size, (number, 9, 9)).save(tmp_path / name / f"{number}.png")
    images = SourceImages(open_sources(tmp_path), 0)
    list(images.take("a", 8))
    told = r"b/5\.png is 20x24, a/\d\.png is 24x24; all images of all sources must have one size"
    with pytest.raises(UserError, match=told):
        list(images.take("b", 8))


def test_each_image_once_and_unusable_ones_named(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for path in (folder / "progan").iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a" / "07.png").write_bytes(b"no image")
    images = SourceImages(open_sources(tmp_path), 0)
    batches = [*images.take("a", 10), *images.take("a", 100)]
    assert len(batches[0]) == 10 and sum(map(len, batches)) == COUNT - 1
    assert len(torch.unique(torch.cat(batches).flatten(1), dim=0)) == COUNT - 1
    assert [name for name, _ in images.failed] == ["a/07.png"]
    assert images.codecs["a"] == {"PNG": COUNT - 1}
    orders = []
    for seed in (0, 0, 1):
        other = SourceImages(open_sources(tmp_path), seed)
        orders.append(torch.cat(list(other.take("b", COUNT))))
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    # The same names stay together: what b took first is what a took first, but for the broken one.
    kept = torch.cat(batches)
    assert sum(bool((kept == image).flatten(1).all(1).any()) for image in orders[0]) == COUNT - 1


def test_folder_without_sources(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="found 1 subfolders; expected one for each source"):
        open_sources(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        open_sources(tmp_path / "nothing")
