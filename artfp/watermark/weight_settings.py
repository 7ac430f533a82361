"""Options that encoders and decoders share: their weights, bits, and use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from artfp.core.options import option, options
from artfp.core.settings import Settings

SIZE_FLAGS = ("--fingerprint_size", "--fingerprint_length")
"""Option strings of the number of bits; the second is the published one."""


class WeightsSettings(Settings):
    """Settings that name weights of encoders and decoders."""

    def check_inputs(self) -> None:
        """Refuse images or weights that are not there.

        Raises:
            UserError: no such images, or no such weights.
        """
        super().check_inputs()
        from artfp.data.bundle import find_weights

        for found in options(type(self)):
            given = getattr(self, found.name)
            if found.metavar == "WEIGHTS" and given is not None:
                find_weights(given, "decoder" if "decoder" in found.name else "encoder")


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(WeightsSettings):
    """Weights of an encoder.

    Args:
        encoder_path: Encoder: a shipped name (photo128, cifar32, transfer32), a .safetensors file,
            or a .pth published by the ArtFP authors.
    """

    title: ClassVar[str] = "weights"

    encoder_path: str = option("photo128", metavar="WEIGHTS")


@dataclass(frozen=True, kw_only=True)
class RealignSettings(Settings):
    """Use of a decoder.

    Args:
        realign: Undo crops, turns, mirroring and uniform borders of the images before they are
            decoded.
    """

    title: ClassVar[str] = "weights"

    realign: bool = True


@dataclass(frozen=True, kw_only=True)
class DecoderSettings(RealignSettings, WeightsSettings):
    """Weights of a decoder, and their use.

    Args:
        decoder_path: Decoder: a shipped name (photo128, cifar32, transfer32), a .safetensors file,
            or a .pth published by the ArtFP authors.
    """

    title: ClassVar[str] = "weights"

    decoder_path: str = option("photo128", metavar="WEIGHTS")
