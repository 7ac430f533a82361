"""Published weights, in published hands: sizes, kinds of files, and habits of the scripts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artfp.core.device import DeviceSettings, TrainerSettings
from artfp.core.errors import UserError
from artfp.passive_studies.marra2019.settings import Marra2019Settings
from artfp.passive_studies.yu2019.settings import Yu2019Settings
from artfp.transfer.settings import TransferStudySettings
from artfp.watermark import Decoder, Encoder, build_pair, load_decoder, load_encoder, save_network
from artfp.watermark.networks.stegastamp import StegaStampDecoder
from artfp.watermark.training.settings import TrainSettings

Call = Callable[..., tuple[int, list[str], list[str]]]

QUICK = ("--num_workers", 0, "--cuda", -1, "--quiet")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    return folder


def save_published(folder: Path, bits: int, resolution: int) -> tuple[Path, Path]:
    """Write untrained weights as the authors write theirs."""
    pair = build_pair("stegastamp", bits, resolution, seed=2)
    files = folder / "x_encoder.pth", folder / "x_decoder.pth"
    for network, file in zip(pair, files, strict=True):
        torch.save(network.state_dict(), file)
    return files


@pytest.mark.parametrize(("bits", "side"), [(1, 16), (512, 16), (9, 96)])
def test_sizes(bits: int, side: int, photos: Path, call: Call, tmp_path: Path) -> None:
    """Embed, check and detect at the ends of the published sizes."""
    encoder, decoder = save_published(tmp_path, bits, side)
    size = ("--image_resolution", 16) if side == 16 else ()
    words = ("--data_dir", photos, "--output_dir", tmp_path / "out", "--check", *size, *QUICK)
    code, out, _ = call("embed", "--encoder_path", encoder, *words)
    assert code in (0, 1)  # what is untrained reads at chance, but for one bit
    assert out[0].startswith("2 images fingerprinted")
    lines = (tmp_path / "out" / "embedded_fingerprints.txt").read_text().splitlines()
    assert [len(line.split()[1]) for line in lines] == [bits, bits]
    marked = tmp_path / "out" / "fingerprinted_images"
    words = ("--data_dir", marked, "--output_dir", tmp_path / "found", *size, *QUICK)
    code, _, _ = call("detect", "--decoder_path", decoder, *words)
    lines = (tmp_path / "found" / "detected_fingerprints.txt").read_text().splitlines()
    assert code == 0 and [len(line.split()[1]) for line in lines] == [bits, bits]


def test_an_encoder_without_its_decoder_needs_its_size(
    photos: Path, call: Call, tmp_path: Path
) -> None:
    encoder, decoder = save_published(tmp_path, 8, 32)
    decoder.unlink()
    words = ("--data_dir", photos, "--output_dir", tmp_path / "out", *QUICK)
    code, _, errors = call("embed", "--encoder_path", encoder, *words)
    assert code == 2 and len(errors) == 1
    assert "x_decoder.pth" in errors[0] and "--image_resolution" in errors[0]
    assert not (tmp_path / "out").exists()
    code, *_ = call("embed", "--encoder_path", encoder, *words, "--image_resolution", 32)
    assert code == 0


def test_the_decoder_says_the_size_before_image_resolution(
    photos: Path, call: Call, tmp_path: Path
) -> None:
    """Which is told, as the published script has one size for both."""
    encoder, _ = save_published(tmp_path, 8, 64)
    words = ("--data_dir", photos, "--image_resolution", 32, *QUICK)
    code, _, errors = call(
        "embed", "--encoder_path", encoder, *words, "--output_dir", tmp_path / "out"
    )
    assert code == 0 and "works at 64 px" in errors[0] and "--image_resolution 32" in errors[0]
    with Image.open(tmp_path / "out" / "fingerprinted_images" / "p0.png") as image:
        assert image.size == (32, 32)


def test_embed_refuses_weights_that_are_no_numbers(
    photos: Path, call: Call, tmp_path: Path
) -> None:
    encoder, _ = save_published(tmp_path, 8, 32)
    state = torch.load(encoder, weights_only=True)
    torch.save({name: weight * float("nan") for name, weight in state.items()}, encoder)
    words = ("--data_dir", photos, "--output_dir", tmp_path / "out", *QUICK)
    code, _, errors = call("embed", "--encoder_path", encoder, *words)
    assert code == 2 and "no finite numbers" in errors[0]


def test_export_and_back(call: Call, tmp_path: Path) -> None:
    """What is exported has the published names and is the same network."""
    pair: tuple[Encoder | Decoder, ...] = build_pair("stegastamp", 12, 32, seed=5)
    for network, kind in zip(pair, ("encoder", "decoder"), strict=True):
        save_network(network, tmp_path / "run" / f"{kind}.safetensors")
    words = (tmp_path / "run" / "encoder.safetensors", "--output_dir", tmp_path / "published")
    code, out, _ = call("export", "--published", *words)
    files = [tmp_path / "published" / f"run_{kind}.pth" for kind in ("encoder", "decoder")]
    assert code == 0 and out == [f"wrote {files[0]} and {files[1]}"]
    for network, file in zip(pair, files, strict=True):
        state = torch.load(file, weights_only=True)
        assert type(state) is dict and state.keys() == network.state_dict().keys()
        assert all(torch.equal(state[name], w) for name, w in network.state_dict().items())
    assert "residual.weight" in torch.load(files[0], weights_only=True)
    assert load_encoder(files[0])[1]["resolution"] == 32
    assert load_decoder(files[1])[1]["bits"] == 12
    code, _, errors = call("export", "--published", *words)
    assert code == 2 and "exists already; choose another --name" in errors[0]
    code, *_ = call("export", "--published", *words, "--name", "cats")
    assert code == 0 and (tmp_path / "published" / "cats_decoder.pth").is_file()


def test_export_refusals(call: Call, tmp_path: Path) -> None:
    words = ("--output_dir", tmp_path)
    code, _, errors = call("export", "--published", "cifar32", *words)
    assert code == 2 and "architecture residual" in errors[0] and len(errors) == 1
    code, _, errors = call("export", "cifar32", *words)
    assert code == 2 and "--published is missing" in errors[0]
    code, _, errors = call("export", "--published", "cifar32", *words, "--name", "a/b")
    assert code == 2 and "--name is 'a/b'" in errors[0]
    encoder, _ = save_published(tmp_path, 8, 32)
    (tmp_path / "other").mkdir()
    _, decoder = save_published(tmp_path / "other", 9, 32)
    code, _, errors = call("export", "--published", encoder, *words, "--decoder_path", decoder)
    assert code == 2 and "8 bits" in errors[0] and "9" in errors[0]


def test_published_options_without_a_use_are_told(photos: Path, call: Call, tmp_path: Path) -> None:
    """--seed of detect, those of another schedule, --devices beside --cuda."""
    _, decoder = save_published(tmp_path, 8, 32)
    code, _, errors = call("detect", photos, "--decoder_path", decoder, "--seed", 42, *QUICK)
    assert code == 0 and errors[0] == "--seed has no effect: nothing is drawn at random"
    code, out, _ = call("detect", photos, "--decoder", decoder, *QUICK)  # a beginning of an option
    assert code == 0 and len(out) > 1
    words = {"data_dir": "x", "output_dir": Path("y")}
    ours = TrainSettings(**words).without_effect  # type: ignore[arg-type]
    theirs = TrainSettings(**words, architecture="stegastamp")  # type: ignore[arg-type]
    assert ours["l2_loss_ramp"] == "it belongs to --schedule published"
    assert "l2_loss_ramp" not in theirs.without_effect and "target_psnr" in theirs.without_effect


def test_options_of_parts_that_are_left_out_have_no_effect(tmp_path: Path) -> None:
    places: dict[str, Any] = {"data_dir": tmp_path / "in", "output_dir": tmp_path / "out"}
    some = Marra2019Settings(**places, analyses=("jpeg", "matrix"))
    assert set(some.without_effect) == {"strengths", "groups", "fpr"}
    assert not Marra2019Settings(**places).without_effect
    assert set(Yu2019Settings(**places).without_effect) == {"immunise_steps"}
    assert not Yu2019Settings(**places, immunise=("jpeg",)).without_effect
    study = {**places, "data_dir": str(tmp_path / "in"), "model": "dcgan"}
    assert "distances" in TransferStudySettings(**study, stages=("embed",)).without_effect
    assert not TransferStudySettings(**study).without_effect


def test_several_gpus() -> None:
    assert DeviceSettings(cuda="0,1").gpus == (0, 1) and DeviceSettings(cuda=-1).gpus == (-1,)
    for wrong in ("0,-1", "one", ""):
        with pytest.raises(UserError, match=r"--cuda is .*; give the number of a GPU, several as"):
            DeviceSettings(cuda=wrong)
    with pytest.raises(UserError, match=r"--cuda 0,1: this command works on one GPU"):
        DeviceSettings(cuda="0,1").torch_device()
    with pytest.raises(UserError, match=r"--cuda 0,9999: this machine has"):
        TrainerSettings(cuda="0,9999").trainer_options()
    assert TrainerSettings(cuda=-1, devices="2").without_effect.keys() == {"accelerator"}


def test_gpus_by_number_are_lightnings_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    options = TrainerSettings(cuda="0,1").trainer_options()
    assert (options["accelerator"], options["devices"]) == ("gpu", [0, 1])
    assert TrainerSettings(cuda=1).trainer_options()["devices"] == [1]


def test_names_join_what_was_embedded_and_what_was_detected(
    photos: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the output is examined."""
    monkeypatch.chdir(tmp_path)
    (photos / "sub").mkdir()
    (photos / "p1.png").rename(photos / "sub" / "p1.png")
    Image.open(photos / "p0.png").save(photos / "p0.jpg")
    encoder, decoder = save_published(tmp_path, 8, 32)
    words = ("--data_dir", photos, "--output_dir", "out", "--archive", *QUICK)
    assert call("embed", "--encoder_path", encoder, *words)[0] == 0
    listing = Path("out/embedded_fingerprints.txt").read_text()
    embedded = [line.rpartition(" ")[0] for line in listing.splitlines()]
    assert len(embedded) == 3
    Path("list.txt").write_text("".join(f"out/fingerprinted_images/{n}\n" for n in embedded))
    places = ("out/fingerprinted_images", "out", "out/fingerprinted_images.zip", "list.txt")
    for number, place in enumerate((*places, f"out/fingerprinted_images/{embedded[-1]}")):
        found = Path(f"found{number}")
        more = ("--data_dir", place, "--output_dir", found, *QUICK)
        assert call("detect", "--decoder_path", decoder, *more)[0] == 0
        lines = (found / "detected_fingerprints.txt").read_text().splitlines()
        assert [line.rpartition(" ")[0] for line in lines] == embedded[-len(lines) :], place
        with open(found / "detected_fingerprints.csv", newline="") as file:
            assert [row["embedded"] for row in csv.DictReader(file)] == embedded[-len(lines) :]


def test_sample_pictures(photos: Path, call: Call, tmp_path: Path) -> None:
    """Written only if asked for, with --check."""
    encoder, _ = save_published(tmp_path, 8, 32)
    words = ("--data_dir", photos, "--encoder_path", encoder, *QUICK)
    # Untrained weights are read at chance, mostly, which --check tells with 1.
    assert call("embed", *words, "--output_dir", tmp_path / "plain", "--check")[0] in (0, 1)
    assert not list((tmp_path / "plain").glob("test_samples*"))
    output = tmp_path / "shown"
    assert call("embed", *words, "--output_dir", output, "--check", "--samples", 49)[0] in (0, 1)
    names = ("clean", "fingerprinted", "residual")
    pictures = [np.asarray(Image.open(output / f"test_samples_{name}.png")) for name in names]
    assert {picture.shape for picture in pictures} == {(36, 70, 3)}  # two of 32 px, with borders
    clean, marked, residual = (p[2:34, 2:34].astype(np.float32) for p in pictures)
    expected = ((marked - clean) * 10 + 127.5).clip(0, 255)
    assert np.abs(residual - expected).max() <= 1 and np.abs(marked - clean).max() > 3
    output = tmp_path / "unchecked"
    _, _, errors = call("embed", *words, "--output_dir", output, "--samples", 4)
    assert "--samples has no effect: the pictures are written with --check" in errors


@pytest.fixture(scope="module")
def tiny() -> tuple[Tensor, StegaStampDecoder]:
    """Patterns (8, 3, 32, 32) of bits, and a published decoder whose last layer reads them.

    The patterns are not symmetric. The other layers are random, the last is fitted by least
    squares to images in which the patterns are strong.
    """
    draws = torch.Generator().manual_seed(0)
    patterns = F.interpolate(torch.randn(8, 3, 4, 4, generator=draws), size=32, mode="bicubic")
    decoder = build_pair("stegastamp", 8, 32, seed=1)[1].eval()
    assert isinstance(decoder, StegaStampDecoder)
    x, bits = patterned(patterns, 600, 0.05, seed=1)
    with torch.no_grad():
        features = decoder.dense[:2](decoder.decoder(x).flatten(1))
        features = F.pad(features, (0, 1), value=1.0)
        ridge = 1e-3 * features.square().mean() * len(features)
        squares = features.T @ features + ridge * torch.eye(features.shape[1])
        weights = 8.0 * torch.linalg.solve(squares, features.T @ (2.0 * bits - 1.0))
        decoder.load_state_dict(
            decoder.state_dict() | {"dense.2.weight": weights[:-1].T, "dense.2.bias": weights[-1]}
        )
    return patterns, decoder


def patterned(patterns: Tensor, count: int, strength: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return 8-bit images (N, 3, 32, 32) in [0, 1] with patterns of random bits, and the bits."""
    draws = torch.Generator().manual_seed(seed)
    x = F.interpolate(torch.rand(count, 3, 4, 4, generator=draws), size=32, mode="bicubic")
    bits = torch.randint(0, 2, (count, 8), generator=draws)
    marks = torch.einsum("nb,bchw->nchw", 2.0 * bits - 1.0, patterns.clamp(-2, 2))
    return (0.42 + 0.15 * x.clamp(0, 1) + strength * marks).clamp(0, 1).mul(255).round() / 255, bits


@pytest.mark.parametrize(("strength", "least"), [(0.04, 1.0), (0.02, 0.97)])
def test_detect_reads_what_the_published_detector_reads(
    tiny: tuple[Tensor, StegaStampDecoder],
    strength: float,
    least: float,
    call: Call,
    tmp_path: Path,
) -> None:
    """Also in weak images, which are not taken for mirrored or turned ones."""
    patterns, decoder = tiny
    torch.save(decoder.state_dict(), tmp_path / "x_decoder.pth")
    x, bits = patterned(patterns, 60, strength, seed=2)
    (tmp_path / "in").mkdir()
    for number, image in enumerate(x.mul(255).byte().permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(tmp_path / "in" / f"{number:03}.png")
    words = ("--data_dir", tmp_path / "in", "--output_dir", tmp_path / "out", *QUICK)
    assert call("detect", "--decoder_path", tmp_path / "x_decoder.pth", *words)[0] == 0
    lines = (tmp_path / "out" / "detected_fingerprints.txt").read_text().splitlines()
    found = torch.tensor([[int(bit) for bit in line.split()[1]] for line in lines])
    with torch.no_grad():
        published = (decoder(x) > 0).long()  # as the published script reads
    reads = (published == bits).float().mean(1) >= 7 / 8
    same = (found == published).all(1)
    assert reads.float().mean() > 0.8 and same[reads].float().mean() >= least
    # The same images mirrored are found where the fingerprint is strong.
    if least == 1.0:
        for number, image in enumerate(x.mul(255).byte().flip(-1).permute(0, 2, 3, 1).numpy()):
            Image.fromarray(image).save(tmp_path / "in" / f"{number:03}.png")
        words = ("--data_dir", tmp_path / "in", "--output_dir", tmp_path / "mirrored", *QUICK)
        assert call("detect", "--decoder_path", tmp_path / "x_decoder.pth", *words)[0] == 0
        with open(tmp_path / "mirrored" / "detected_fingerprints.csv", newline="") as file:
            assert sum(row["realigned"] == "mirrored" for row in csv.DictReader(file)) > 20
