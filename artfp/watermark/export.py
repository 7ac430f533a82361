"""Weights in the form in which the authors of ArtFP publish theirs, for their scripts."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from artfp.core.errors import UserError
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.files import new_file
from artfp.watermark.networks.base import Decoder, Encoder
from artfp.watermark.networks.stegastamp import StegaStampEncoder
from artfp.watermark.settings import ExportSettings
from artfp.watermark.weights import check_same_bits, load_decoder, load_encoder


def export_published(settings: ExportSettings) -> tuple[Path, Path]:
    """Write an encoder and its decoder as the published scripts read them.

    Two state dicts, `NAME_encoder.pth` and `NAME_decoder.pth`, with the published names of all
    weights.

    Args:
        settings: Weights, and where to write them.

    Returns:
        The files of the encoder and of the decoder.

    Raises:
        UserError: the weights cannot be read, are of another architecture than the published one,
            or one of the files exists.

    Example:
        >>> import tempfile
        >>> from artfp.watermark import build_pair, save_network
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for network, kind in zip(build_pair("stegastamp", 8, 32), ("encoder", "decoder")):
        ...         _ = save_network(network, Path(folder, f"{kind}.safetensors"))
        ...     encoder = f"{folder}/encoder.safetensors"
        ...     files = export_published(
        ...         ExportSettings(
        ...             encoder_path=encoder, output_dir=Path(folder), published=True, name="cats"
        ...         )
        ...     )
        >>> [file.name for file in files]
        ['cats_encoder.pth', 'cats_decoder.pth']
    """
    encoder, _ = load_encoder(settings.encoder_path, decoder=settings.decoder_path)
    decoder_path = settings.decoder_path or find_decoder(settings.encoder_path)
    if encoder.architecture != StegaStampEncoder.architecture:
        raise UserError(
            f"{settings.encoder_path} is of the architecture {encoder.architecture}, which the "
            f"published scripts do not have; export weights of artfp train --architecture "
            f"{StegaStampEncoder.architecture}"
        )
    decoder, _ = load_decoder(decoder_path, realign=False)
    check_same_bits(encoder, decoder, settings.encoder_path, str(decoder_path))
    if (encoder.architecture, encoder.resolution) != (decoder.architecture, decoder.resolution):
        raise UserError(
            f"{decoder_path} is no decoder of {settings.encoder_path}: {decoder.architecture} at "
            f"{decoder.resolution} px, the encoder {encoder.architecture} at {encoder.resolution} "
            "px; give the two of one training"
        )
    name = settings.name or _name_of(find_weights(settings.encoder_path, "encoder"))
    files = tuple(settings.output_dir / f"{name}_{kind}.pth" for kind in ("encoder", "decoder"))
    for file in files:
        if file.exists():
            raise UserError(f"{file}: exists already; choose another --name or move it away")
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    _save_state(encoder, files[0])
    _save_state(decoder, files[1])
    return files[0], files[1]


def _name_of(encoder: Path) -> str:
    """Return what an encoder's file is called without `encoder`, or else its folder's name."""
    name = encoder.stem.replace("encoder", "").strip("._-")
    return name or encoder.resolve().parent.name or "artfp"


def _save_state(network: Encoder | Decoder, path: Path) -> None:
    content = io.BytesIO()
    weights = network.state_dict().items()
    torch.save({name: weight.detach().cpu().clone() for name, weight in weights}, content)
    with new_file(path, "weights", secret=False) as file:
        file.write(content.getbuffer())
