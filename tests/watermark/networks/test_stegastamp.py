"""The published networks against a functional account of the paper's architecture."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.watermark.networks.stegastamp import StegaStampDecoder, StegaStampEncoder

State = dict[str, Tensor]

DECODER_PLAN = [(3, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2), (64, 128, 2)]
DECODER_PLAN += [(128, 128, 2)]


def encoder_shapes(bits: int) -> dict[str, tuple[int, ...]]:
    """Weights by their published names: inputs, outputs and kernel of each layer."""
    layers = {
        "conv1": (6, 32, 3),
        "conv2": (32, 32, 3),
        "conv3": (32, 64, 3),
        "conv4": (64, 128, 3),
        "conv5": (128, 256, 3),
        "up6": (256, 128, 2),
        "conv6": (128 + 128, 128, 3),
        "up7": (128, 64, 2),
        "conv7": (64 + 64, 64, 3),
        "up8": (64, 32, 2),
        "conv8": (32 + 32, 32, 3),
        "up9": (32, 32, 2),
        "conv9": (32 + 32 + 6, 32, 3),
        "conv10": (32, 32, 3),
        "residual": (32, 3, 1),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "secret_dense.weight": (768, bits),
        "secret_dense.bias": (768,),
    }
    for name, (inputs, outputs, kernel) in layers.items():
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        shapes[f"{name}.bias"] = (outputs,)
    return shapes


def decoder_shapes(bits: int, resolution: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (inputs, outputs, _) in enumerate(DECODER_PLAN):
        shapes[f"decoder.{2 * number}.weight"] = (outputs, inputs, 3, 3)
        shapes[f"decoder.{2 * number}.bias"] = (outputs,)
    shapes["dense.0.weight"] = (512, resolution * resolution * 128 // 1024)
    shapes["dense.0.bias"] = (512,)
    shapes["dense.2.weight"] = (bits, 512)
    shapes["dense.2.bias"] = (bits,)
    return shapes


def random_state(shapes: dict[str, tuple[int, ...]]) -> State:
    """Weights large enough for every layer to matter in the output."""
    draws = torch.Generator().manual_seed(5)
    state = {}
    for name, shape in shapes.items():
        scale = 0.2 if name.endswith("bias") else (2.0 / math.prod(shape[1:])) ** 0.5
        state[name] = torch.randn(shape, generator=draws) * scale
    return state


def encode(state: State, image: Tensor, bits: Tensor) -> Tensor:
    """The published encoder, step by step."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = state[f"{name}.weight"]
        padding = 1 if kernel.shape[-1] == 3 else 0
        return F.conv2d(x, kernel, state[f"{name}.bias"], stride, padding)

    def up(name: str, x: Tensor) -> Tensor:
        grown = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        framed = torch.zeros(*grown.shape[:2], grown.shape[2] + 1, grown.shape[3] + 1)
        framed[:, :, :-1, :-1] = grown
        return conv(name, framed).relu()

    factor = image.shape[-1] // 16
    secret = (bits @ state["secret_dense.weight"].T + state["secret_dense.bias"]).relu()
    secret = secret.reshape(len(bits), 3, 16, 16)
    secret = secret.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    inputs = torch.cat([secret, image], 1)
    first = conv("conv1", inputs).relu()
    second = conv("conv2", first, 2).relu()
    third = conv("conv3", second, 2).relu()
    fourth = conv("conv4", third, 2).relu()
    fifth = conv("conv5", fourth, 2).relu()
    x = conv("conv6", torch.cat([fourth, up("up6", fifth)], 1)).relu()
    x = conv("conv7", torch.cat([third, up("up7", x)], 1)).relu()
    x = conv("conv8", torch.cat([second, up("up8", x)], 1)).relu()
    x = conv("conv9", torch.cat([first, up("up9", x), inputs], 1)).relu()
    x = conv("conv10", x).relu()
    return 1.0 / (1.0 + torch.exp(-conv("residual", x)))


def decode(state: State, image: Tensor) -> Tensor:
    """The published decoder, step by step."""
    x = image
    for number, (_, _, stride) in enumerate(DECODER_PLAN):
        name = f"decoder.{2 * number}"
        x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, 1).relu()
    x = x.reshape(len(x), -1)
    x = (x @ state["dense.0.weight"].T + state["dense.0.bias"]).relu()
    return x @ state["dense.2.weight"].T + state["dense.2.bias"]


@pytest.mark.parametrize(("bits", "resolution"), [(100, 128), (8, 32), (37, 64)])
def test_encoder_is_the_published_function(bits: int, resolution: int) -> None:
    state = random_state(encoder_shapes(bits))
    encoder = StegaStampEncoder(bits, resolution)
    encoder.load_state_dict({name: value.clone() for name, value in state.items()})
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, resolution, resolution, generator=draws)
    word = torch.randint(0, 2, (2, bits), generator=draws).float()
    with torch.no_grad():
        expected = encode(state, x, word)
        torch.testing.assert_close(encoder(x, word), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(encoder.residual(x, word), expected - x, rtol=0, atol=1e-5)
        assert expected.std() > 0.05  # the sigmoid is not saturated
        assert (encode(state, x, 1 - word) - expected).abs().max() > 1e-3  # the bits matter


@pytest.mark.parametrize(("bits", "resolution"), [(100, 128), (8, 32), (37, 64)])
def test_decoder_is_the_published_function(bits: int, resolution: int) -> None:
    state = random_state(decoder_shapes(bits, resolution))
    decoder = StegaStampDecoder(bits, resolution)
    decoder.load_state_dict(state)
    x = torch.rand(2, 3, resolution, resolution, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = decode(state, x)
        torch.testing.assert_close(decoder(x), expected, rtol=1e-5, atol=1e-5)
        assert expected.std() > 0.05


def test_state_dicts_have_the_published_names_and_shapes() -> None:
    encoder, decoder = StegaStampEncoder(64, 32), StegaStampDecoder(64, 32)
    got = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert got == encoder_shapes(64)
    got = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    assert got == decoder_shapes(64, 32)


def test_names_survive_a_place_in_another_module() -> None:
    holder = torch.nn.ModuleDict({"encoder": StegaStampEncoder(8, 32)})
    state = holder.state_dict()
    assert "encoder.residual.weight" in state
    other = torch.nn.ModuleDict({"encoder": StegaStampEncoder(8, 32)})
    other.load_state_dict(state)
    for name, value in other.state_dict().items():
        assert torch.equal(value, state[name])
    assert "encoder.residual.weight" in state  # loading leaves the caller's dict as it was
