"""Images from generators: the same for a seed, whole or not there, in the right folders."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from artfp import generators
from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit
from artfp.generators import GenerativeModel, Generator, ModelConfig, TrainedNetwork, build_model
from artfp.generators.generate import GeneratedImages, generate_images
from artfp.generators.settings import GenerateSettings
from artfp.generators.weights import save_generator
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs


class Striped(Generator):
    """Noise around a grey level for each class; negatives of what it is given."""

    targets = (0, 1)

    def __init__(self, resolution: int, config: ModelConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.levels = nn.Parameter(torch.linspace(-0.8, 0.8, max(1, classes)))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        assert labels is not None
        noise = rng.uniform(3, self.resolution, self.resolution) * 0.1
        return noise + self.levels[labels][:, None, None, None]

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return -y if target else y


class ToyLabelled(GenerativeModel):
    name, reference, departures, labelled = "toy-labelled", "arXiv", "none", True
    resolutions = (8,)
    small = paper = ModelConfig()
    generator_type = Striped

    def trained_networks(self) -> list[TrainedNetwork]:
        return []


class ToyTranslator(ToyLabelled):
    name, labelled, translates = "toy-translator", False, True


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained DCGAN, with batch statistics that make its images differ."""
    path = tmp_path_factory.mktemp("dcgan") / "generator.safetensors"
    model = build_model("dcgan", 16, seed=1, changes={"width": 8})
    with torch.no_grad():
        for module in model.generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.fill_(1e-3)  # type: ignore[union-attr]
    save_generator(model.generator, path)
    return path


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Save a class-conditional generator or a translator."""
    for model in (ToyLabelled, ToyTranslator):
        monkeypatch.setitem(generators.generative_models(), model.name, model)

    def save(name: str, classes: int = 0, **card: Any) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_generator(build_model(name, 8, classes=classes).generator, path, card)
        return path

    return save


def pixels(folder: Path) -> dict[str, np.ndarray]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in files}


def generate(
    weights: Path,
    output: Path,
    count: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    **more: Any,
) -> GeneratedImages:
    return generate_images(
        GenerateSettings(
            generator=weights,
            output_dir=output,
            count=count,
            seed=seed,
            batch_size=batch_size,
            cuda=-1,
            **more,
        )
    )


def test_images_are_those_of_the_generator(weights: Path, tmp_path: Path) -> None:
    done = generate(weights, tmp_path / "out", 10, seed=3, batch_size=4)
    assert (done.images, done.before, done.failed) == (10, 0, [])
    got = pixels(done.folder)
    assert sorted(got) == [f"{i:06}.png" for i in range(10)]
    generator = build_model("dcgan", 16, seed=1, changes={"width": 8}).generator
    generator.load_state_dict(load_file(weights))
    for start in (0, 4, 8):
        expected = to_8bit(generator.sample(ImageRandomInputs(3, range(start, start + 4))))
        for i, image in enumerate(expected[: 10 - start], start):
            np.testing.assert_array_equal(got[f"{i:06}.png"], image.permute(1, 2, 0).numpy())
    assert len({image.tobytes() for image in got.values()}) == 10


def test_the_batch_size_and_the_count_do_not_matter(weights: Path, tmp_path: Path) -> None:
    """But for the order in which a machine adds up: a level of 256, in few pixels."""
    runs = [
        pixels(generate(weights, tmp_path / f"{n}-{b}", n, 3, b).folder)
        for n, b in ((20, 20), (20, 7), (13, 7), (5, 1))
    ]
    for run in runs[1:]:
        for name, image in run.items():
            off = np.abs(image.astype(int) - runs[0][name])
            assert off.max() <= 1 and off.mean() < 0.01
    for name, image in runs[2].items():  # with one batch size, to the bit
        np.testing.assert_array_equal(image, runs[1][name])
    other = pixels(generate(weights, tmp_path / "other", 20, 4, 20).folder)
    assert all((other[name] != image).mean() > 0.5 for name, image in runs[0].items())


def test_all_batches_are_of_one_size(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an image would have other neighbours when more are asked for."""
    sizes: list[int] = []
    sample = Generator.sample

    def noting(self: Generator, rng: RandomInputs, labels: Tensor | None = None) -> Tensor:
        sizes.append(len(rng))
        return sample(self, rng, labels)

    monkeypatch.setattr(Generator, "sample", noting)
    generate(weights, tmp_path / "out", 10, batch_size=4)
    assert sizes == [4, 4, 4]


def test_a_stopped_run_goes_on(weights: Path, tmp_path: Path) -> None:
    whole = generate(weights, tmp_path / "whole", 20, batch_size=4, archive=True)
    first = generate(weights, tmp_path / "parts", 9, batch_size=4)
    (first.folder / "000002.png").unlink()
    (first.folder / ".0123456789abcdef.tmp").write_bytes(b"cut short")
    before = {path: path.stat().st_mtime_ns for path in first.folder.glob("*.png")}
    done = generate(weights, tmp_path / "parts", 20, batch_size=4, archive=True)
    assert (done.images, done.before) == (20, 8)
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    for name in ("images.zip", *(f"images/{path.name}" for path in whole.folder.iterdir())):
        parts, at_once = (tmp_path / run / name for run in ("parts", "whole"))
        assert parts.read_bytes() == at_once.read_bytes()
    assert len(os.listdir(done.folder)) == 20
    with zipfile.ZipFile(tmp_path / "whole" / "images.zip") as archive:
        assert len(archive.namelist()) == 20
    for options in ({"seed": 1}, {"batch_size": 5}, {"format": "webp"}):
        with pytest.raises(UserError, match="holds a run of 'generate' with other settings"):
            several: dict[str, Any] = {"batch_size": 4, **options}
            generate(weights, tmp_path / "parts", 20, **several)


def test_fewer_images_than_lie_there_are_refused(weights: Path, tmp_path: Path) -> None:
    generate(weights, tmp_path / "out", 5)
    with pytest.raises(UserError, match=r"holds 2 more images than --count 3, such as 000003\.png"):
        generate(weights, tmp_path / "out", 3)
    assert len(os.listdir(tmp_path / "out" / "images")) == 5
    (tmp_path / "out" / "generate.run.json").unlink()
    with pytest.raises(UserError, match=r"\.png is of an unknown run; choose another"):
        generate(weights, tmp_path / "out", 5)


def test_a_translator_goes_on_with_its_own_inputs(
    toys: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    picture = tmp_path / "in" / "a.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    path = toys("toy-translator")
    generate(path, tmp_path / "out", data_dir=str(tmp_path / "in"))
    Image.new("RGB", (8, 8), "blue").save(picture)
    with pytest.raises(UserError, match="'inputs_sha256' is that of other files"):
        generate(path, tmp_path / "out", data_dir=str(tmp_path / "in"))


def test_classes_have_folders(toys: Callable[..., Path], tmp_path: Path) -> None:
    names = ["cat", "../evil", "", 7, "a dog"]
    path = toys("toy-labelled", 6, class_names=names)
    done = generate(path, tmp_path / "out", 13, batch_size=4)
    got = pixels(done.folder)
    assert len(got) == done.images == 13
    folders = ["cat", "1", "2", "3", "a dog", "5"]
    for name, image in got.items():
        folder, number = name.split("/")
        label = int(number[:6]) % 6
        assert folder == folders[label]
        level = (np.linspace(-0.8, 0.8, 6)[label] + 0.05 + 1) / 2 * 255
        assert abs(image.mean() - level) < 3
    only = generate(path, tmp_path / "only", 5, label=4)
    assert sorted(pixels(only.folder)) == [f"a dog/{i:06}.png" for i in range(5)]
    with pytest.raises(UserError, match="has 6 classes, counted from 0; no 6"):
        generate(path, tmp_path / "none", 5, label=6)


def test_translations(toys: Callable[..., Path], tmp_path: Path) -> None:
    path = toys("toy-translator")
    inputs = tmp_path / "inputs"
    (inputs / "deep").mkdir(parents=True)
    for level in (10, 100, 200):
        Image.new("RGB", (8, 8), (level, 0, 255)).save(inputs / "deep" / f"{level:03}.bmp")
    (inputs / "bad.png").write_bytes(b"no image")
    done = generate(path, tmp_path / "out", data_dir=str(inputs), target=1, batch_size=2)
    assert done.images == 3 and [name for name, _ in done.failed] == ["bad.png"]
    got = pixels(done.folder)
    assert sorted(got) == [f"deep/{level:03}.png" for level in (10, 100, 200)]
    for name, image in got.items():
        assert (image == (255 - int(name[5:8]), 255, 0)).all()
    again = generate(path, tmp_path / "out", data_dir=str(inputs), target=1, batch_size=2)
    assert again.before == 3
    few = generate(path, tmp_path / "few", 2, data_dir=str(inputs))  # to the first target
    assert sorted(pixels(few.folder)) == ["deep/010.png"]
    assert (pixels(few.folder)["deep/010.png"] == (10, 0, 255)).all()
    with pytest.raises(UserError, match="translates to 0, 1, not to 2"):
        generate(path, tmp_path / "no", data_dir=str(inputs), target=2)
    with pytest.raises(UserError, match="translates images; give them with --data_dir"):
        generate(path, tmp_path / "no", 3)
    with pytest.raises(UserError, match="choose an output folder outside"):
        generate(path, inputs / "out", data_dir=str(inputs))


def test_what_does_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the number of images with --count"):
        generate(weights, tmp_path / "out")
    with pytest.raises(UserError, match="leave out --data_dir and --target"):
        generate(weights, tmp_path / "out", 3, target=1)
    with pytest.raises(UserError, match="has 0 classes, counted from 0; no 0"):
        generate(weights, tmp_path / "out", 3, label=0)
    for options, message in (
        ({"count": 0}, "count is 0; it must be 1 or more"),
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"format": "gif"}, "--format is 'gif'; choose from png"),
    ):
        with pytest.raises(UserError, match=message):
            several: dict[str, Any] = {"count": 1, **options}
            generate(weights, tmp_path / "out", **several)
    assert not (tmp_path / "out").exists()


def test_images_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """Of finite weights, but beyond what single precision multiplies."""
    model = build_model("dcgan", 16, seed=1, changes={"width": 8})
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.fill_(1e38)
    path = tmp_path / "generator.safetensors"
    save_generator(model.generator, path)
    with pytest.raises(UserError, match=r"no numbers \(NaN\), as after a training that diverged"):
        generate(path, tmp_path / "out", 2)
    assert not list(tmp_path.rglob("*.png"))
