"""Files of weights: artfp's own and the published ones."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import CARD, find_decoder, find_weights, read_card, shipped_weights
from artfp.data.paths import file_hash
from artfp.ownership.key import Key
from artfp.watermark import (
    Decoder,
    Encoder,
    Watermark,
    build_pair,
    load_decoder,
    load_encoder,
    save_network,
)
from artfp.watermark.networks.orientation import OrientingDecoder
from artfp.watermark.networks.realigning import RealigningDecoder
from artfp.watermark.networks.stegastamp import StegaStampDecoder


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a
    )


@pytest.mark.parametrize("architecture", ["residual", "stegastamp"])
def test_round_trip(architecture: str, tmp_path: Path) -> None:
    pair = build_pair(architecture, 24, 64, seed=4)
    extra = {"training": {"data": "Fotos ü"}, "measured": {"psnr": 41.25}}
    networks: tuple[Encoder | Decoder, ...] = pair
    for network, kind in zip(networks, ("encoder", "decoder"), strict=True):
        file = tmp_path / "new" / f"{kind}.safetensors"
        written = save_network(network, file, extra)
        assert written == read_card(file) == {
            "kind": kind,
            "architecture": architecture,
            "bits": 24,
            "resolution": 64,
            "version": artfp.__version__,
            **extra,
        }  # fmt: skip
        loaded, card = load_encoder(file) if kind == "encoder" else load_decoder(file, False)
        assert card == written and same_weights(loaded, network)
        assert type(loaded) is type(network) and (loaded.bits, loaded.resolution) == (24, 64)
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
        assert os.listdir(file.parent) == [file.name] or kind == "decoder"  # no partial file
        assert load_file(file).keys() == network.state_dict().keys()  # readable without artfp


@pytest.mark.parametrize(
    ("architecture", "kind"), [("residual", RealigningDecoder), ("stegastamp", OrientingDecoder)]
)
def test_decoders_realign_unless_told_not_to(
    architecture: str, kind: type[RealigningDecoder | OrientingDecoder], tmp_path: Path
) -> None:
    """Artfp's own files and the published ones."""
    network = build_pair(architecture, 24, 64, seed=4)[1]
    save_network(network, tmp_path / "decoder.safetensors")
    torch.save(network.state_dict(), tmp_path / "decoder.pth")
    for file in ("decoder.safetensors", "decoder.pth")[: 2 if architecture == "stegastamp" else 1]:
        loaded, card = load_decoder(tmp_path / file)
        plain, same_card = load_decoder(tmp_path / file, realign=False)
        assert type(loaded) is kind and type(plain) is type(network) and card == same_card
        assert (loaded.bits, loaded.resolution) == (24, 64)
        assert loaded.architecture == card["architecture"] == architecture
        assert same_weights(loaded.decoder, plain) and same_weights(plain, network)
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
        x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        logits, notes = plain.decode(x, torch.tensor([0.5, 2.0]))
        assert notes == ["", ""] and torch.equal(logits, plain(x))


@pytest.fixture
def decoder_file(tmp_path: Path) -> Path:
    path = tmp_path / "decoder.safetensors"
    save_network(build_pair("residual", 16, 32)[1], path)
    return path


def refuse(load: Callable[..., object], path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_kind(decoder_file: Path) -> None:
    refuse(load_encoder, decoder_file, "holds the decoder, not the encoder; give the other file")


def test_files_that_are_none(tmp_path: Path, decoder_file: Path) -> None:
    refuse(load_decoder, tmp_path / "absent.safetensors", "no decoder at .*; give a file")
    with pytest.raises(UserError, match="is a folder; give the decoder's file"):
        load_decoder(tmp_path)
    text = tmp_path / "text.safetensors"
    text.write_text("hello, this is no file of weights")
    refuse(load_decoder, text, "not a readable .safetensors")
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    refuse(load_decoder, empty, "not a readable .safetensors")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated(decoder_file: Path, share: float) -> None:
    data = decoder_file.read_bytes()
    decoder_file.write_bytes(data[: int(share * len(data))])
    refuse(load_decoder, decoder_file, "not a readable .safetensors")


def rewrite(path: Path, card: object) -> None:
    metadata = (
        None if card is None else {"artfp": card if isinstance(card, str) else json.dumps(card)}
    )
    save_file(load_file(path), path, metadata=metadata)


def test_cards_that_do_not_fit(decoder_file: Path) -> None:
    good = read_card(decoder_file)
    for card in (None, "{", "[]", '"text"'):
        rewrite(decoder_file, card)
        refuse(load_decoder, decoder_file, "has no artfp card")
    rewrite(decoder_file, {**good, "architecture": "newer", "version": "9.9"})
    refuse(load_decoder, decoder_file, "architecture 'newer', which this version .* written by 9.9")
    change: Mapping[str, object]
    for change in ({"bits": 17}, {"resolution": 64}, {"architecture": "stegastamp"}, {"bits": 5}):
        rewrite(decoder_file, {**good, **change})
        refuse(load_decoder, decoder_file, "does not fit the decoder that it claims to be")
    for change in ({"bits": "many"}, {"resolution": None}):
        rewrite(decoder_file, {**good, **change})
        refuse(load_decoder, decoder_file, "does not give bits and resolution")
    rewrite(decoder_file, good)
    load_decoder(decoder_file)


def save_published(folder: Path, bits: int, resolution: int) -> tuple[Path, Path]:
    pair = build_pair("stegastamp", bits, resolution, seed=2)
    files = folder / "celeba_encoder.pth", folder / "celeba_decoder.pth"
    for network, file in zip(pair, files, strict=True):
        torch.save(network.state_dict(), file)
    return files


def test_published_checkpoints(tmp_path: Path) -> None:
    encoder_file, decoder_file = save_published(tmp_path, 40, 64)
    decoder, card = load_decoder(decoder_file, realign=False)
    expected = {"architecture": "stegastamp", "bits": 40, "resolution": 64}
    assert card == {"kind": "decoder", **expected}
    encoder, card = load_encoder(encoder_file)
    assert card == {"kind": "encoder", **expected}  # the resolution is that of the decoder beside
    pair = build_pair("stegastamp", 40, 64, seed=2)
    assert same_weights(encoder, pair[0]) and same_weights(decoder, pair[1])
    assert not encoder.training and not decoder.training


def test_size_of_a_published_encoder(tmp_path: Path) -> None:
    """Its own weights fit every size: it is the decoder's, else given, never guessed."""
    encoder_file, decoder_file = save_published(tmp_path, 40, 64)
    assert load_encoder(encoder_file, resolution=256)[0].resolution == 64
    moved = decoder_file.rename(tmp_path / "other.pth")
    refuse(load_encoder, encoder_file, "decoder beside it, as celeba_decoder.pth, or .*--image_")
    assert load_encoder(encoder_file, resolution=32)[0].resolution == 32
    assert load_encoder(encoder_file, 32, moved)[0].resolution == 64
    lonely = encoder_file.rename(tmp_path / "weights.pth")
    refuse(load_encoder, lonely, "does not hold the size")
    (tmp_path / "others").mkdir()
    _, other = save_published(tmp_path / "others", 39, 64)
    with pytest.raises(UserError, match=r"embeds 40 bits and .* decodes 39; give the two of one"):
        load_encoder(lonely, 64, other)
    with pytest.raises(UserError, match=r"does not fit .* take 16, or a multiple of 32"):
        load_encoder(lonely, resolution=40)


def test_published_checkpoints_in_wrappers_and_as_safetensors(tmp_path: Path) -> None:
    """nn.DataParallel and torch.compile put prefixes before all names."""
    pair = build_pair("stegastamp", 8, 32, seed=2)
    networks: tuple[Encoder | Decoder, ...] = pair
    for prefix in ("", "module.", "_orig_mod.", "module._orig_mod."):
        for ending in ("pth", "safetensors"):
            for network, kind in zip(networks, ("encoder", "decoder"), strict=True):
                state = {prefix + name: weight for name, weight in network.state_dict().items()}
                file = tmp_path / f"{prefix}x_{kind}.{ending}"
                torch.save(state, file) if ending == "pth" else save_file(state, file)
            encoder, card = load_encoder(tmp_path / f"{prefix}x_encoder.{ending}")
            decoder, _ = load_decoder(tmp_path / f"{prefix}x_decoder.{ending}", realign=False)
            assert same_weights(encoder, pair[0]) and same_weights(decoder, pair[1])
            assert card["architecture"] == "stegastamp" and card["resolution"] == 32


@pytest.mark.parametrize(("bits", "resolution"), [(1, 16), (512, 16), (1, 96)])
def test_ends_of_the_published_sizes(bits: int, resolution: int, tmp_path: Path) -> None:
    save_published(tmp_path, bits, resolution)
    size = 16 if resolution == 16 else None  # its decoder looks like one of 32 px
    watermark = Watermark(
        load_encoder(tmp_path / "celeba_encoder.pth", size)[0],
        load_decoder(tmp_path / "celeba_decoder.pth", resolution=size)[0],
    )
    assert watermark.encoder.resolution == watermark.decoder.resolution == resolution
    photo = np.full((40, 30, 3), 100, np.uint8)
    marked = watermark.embed(photo, Key.from_seed(1).fingerprint(bits))
    assert marked.shape == photo.shape and watermark.decode(marked).shape == (bits,)


def test_published_decoder_of_1024_px(tmp_path: Path) -> None:
    shapes = {name: w.shape for name, w in StegaStampDecoder(1, 32).state_dict().items()}
    shapes["dense.0.weight"] = torch.Size((512, 1024 * 1024 // 8))
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "x_decoder.pth")
    decoder, card = load_decoder(tmp_path / "x_decoder.pth", realign=False)
    assert card["resolution"] == 1024
    assert decoder(torch.zeros(1, 3, 1024, 1024)).shape == (1, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_that_are_no_numbers(value: float, ending: str, tmp_path: Path) -> None:
    pair = build_pair("stegastamp", 8, 32)
    file = tmp_path / f"decoder.{ending}"
    if ending == "safetensors":
        save_network(pair[1], file)
    with torch.no_grad():
        pair[1].state_dict()["dense.0.bias"][3] = value
    if ending == "pth":
        torch.save(pair[1].state_dict(), file)
    else:
        save_file(pair[1].state_dict(), file, {CARD: json.dumps(read_card(file))})
    refuse(load_decoder, file, "dense.0.bias holds values that are no finite numbers")


@pytest.mark.filterwarnings("ignore:Sparse invariant")
def test_tensors_that_are_not_plain(tmp_path: Path) -> None:
    """A few bytes may claim any number of weights, and torch has tensors of many sorts."""
    state = dict(build_pair("stegastamp", 8, 32)[1].state_dict())
    file = tmp_path / "decoder.pth"
    torch.save(state | {"dense.0.weight": torch.zeros(1).expand(1 << 20, 1 << 20)}, file)
    refuse(load_decoder, file, "does not fit the decoder")
    torch.save(state | {"dense.0.weight": torch.full((1,), torch.inf).expand(1 << 9, 128)}, file)
    refuse(load_decoder, file, "no finite numbers")
    weight = state["dense.0.weight"]
    for odd in (weight.to(torch.complex64), weight.to_sparse(), weight.to(torch.float8_e5m2)):
        torch.save(state | {"dense.0.weight": odd}, file)
        refuse(load_decoder, file, "dense.0.weight is no plain tensor of real numbers")
    torch.save({name: weight.half() for name, weight in state.items()}, file)
    assert load_decoder(file)[0](torch.zeros(1, 3, 32, 32)).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_pickles(tmp_path: Path) -> None:
    """Of the old format, whose bytes nothing checks; torch raises errors of ten kinds."""
    file, draws = tmp_path / "decoder.pth", random.Random(3)
    torch.save({"a.weight": torch.zeros(4)}, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[draws.randrange(len(whole))] = draws.randrange(256)
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"decoder\.pth"):
            load_decoder(file)


def test_published_checkpoints_of_the_wrong_kind(tmp_path: Path) -> None:
    encoder_file, decoder_file = save_published(tmp_path, 40, 64)
    refuse(load_encoder, decoder_file, "holds the decoder, not the enc.*other file, celeba_encoder")
    refuse(load_decoder, encoder_file, "holds the encoder, not the dec.*other file, celeba_decoder")
    discriminator = tmp_path / "celeba_discriminator.pth"
    torch.save(
        {"conv1.weight": torch.zeros(8, 3, 3, 3), "conv1.bias": torch.zeros(8)}, discriminator
    )
    refuse(load_encoder, discriminator, "secret_dense.weight is missing .*conv1.weight, conv1.bias")
    refuse(load_decoder, discriminator, "dense.0.weight is missing .*give the file ..._decoder.pth")
    torch.save({}, discriminator)
    refuse(load_decoder, discriminator, "dense.0.weight is missing .*none")
    torch.save({1: torch.zeros(3)}, discriminator)
    refuse(load_decoder, discriminator, "not a plain state dict")
    other = tmp_path / "other.pth"
    torch.save([1, 2], other)
    refuse(load_decoder, other, "not a plain state dict")
    torch.save({"dense.2.weight": torch.zeros(3, 4), "dense.0.weight": torch.zeros(4, 2048)}, other)
    refuse(load_decoder, other, "does not fit the decoder")
    other.write_bytes(decoder_file.read_bytes()[:5000])
    refuse(load_decoder, other, "not a readable checkpoint")
    other.write_bytes(b"")
    refuse(load_decoder, other, "not a readable checkpoint")


class Trap:
    """Unpickled, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("old_format", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, old_format: bool) -> None:
    sprung = tmp_path / "sprung"
    file = tmp_path / "decoder.pth"
    state = {**build_pair("stegastamp", 16, 32)[1].state_dict(), "x": Trap(sprung)}
    torch.save(state, file, _use_new_zipfile_serialization=not old_format)
    refuse(load_decoder, file, "refused: .* could execute code")
    refuse(load_encoder, file, "refused: .* could execute code")
    file.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    refuse(load_decoder, file, "refused")
    assert not sprung.exists()
    pickle.loads(file.read_bytes())  # the trap does work
    assert sprung.exists()


def test_shipped_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artfp.data.bundle.WEIGHTS", tmp_path)
    assert shipped_weights() == []
    refuse(load_encoder, Path("photo"), "a shipped name: none")
    pair = build_pair("residual", 16, 32)
    save_network(pair[0], tmp_path / "photo_encoder.safetensors")
    save_network(pair[1], tmp_path / "photo_decoder.safetensors")
    save_network(pair[0], tmp_path / "art_encoder.safetensors")
    assert shipped_weights() == ["art", "photo"]
    assert find_weights("photo", "decoder") == tmp_path / "photo_decoder.safetensors"
    assert same_weights(load_encoder("photo")[0], pair[0])
    assert same_weights(load_decoder("photo", realign=False)[0], pair[1])
    refuse(load_encoder, Path("fotos"), "a shipped name: art, photo")
    assert find_decoder("photo") == "photo"


def test_partner_is_the_file_beside(tmp_path: Path) -> None:
    assert find_decoder(tmp_path / "encoder.safetensors") == tmp_path / "decoder.safetensors"
    encoders = tmp_path / "encoders" / "a_encoder_v2.pth"
    assert find_decoder(str(encoders)) == tmp_path / "encoders" / "a_decoder_v2.pth"


def test_file_hash(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(os.urandom((1 << 20) + 17))
    assert file_hash(file) == hashlib.sha256(file.read_bytes()).hexdigest()
