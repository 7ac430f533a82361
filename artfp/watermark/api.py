"""Watermarking of images in memory: Pillow images, arrays, and batches of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from artfp.data.borders import find_pictures
from artfp.data.bundle import find_decoder
from artfp.data.decode import decode_picture
from artfp.data.geometry import resize
from artfp.data.image_files import ImageError
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.reading import stack_pixels
from artfp.stats import format_p, log_p_value
from artfp.watermark.networks.base import (
    Decoder,
    Encoder,
    add_residual,
    limit_psnr,
    refuse_small,
    resize_residual,
)
from artfp.watermark.networks.realigning import realigns, take_surer_pictures
from artfp.watermark.weights import check_same_bits, load_decoder, load_encoder


def network_input(pixels: Tensor, side: int) -> Tensor:
    """Return 8-bit images (N, 3, H, W) as networks take them: (N, 3, side, side) in [0, 1]."""
    if tuple(pixels.shape[-2:]) != (side, side):
        images = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        pixels = stack_pixels([resize(image, (side, side)) for image in images])
    return to_unit(pixels.contiguous())


@torch.inference_mode()
def decode_logits(decoder: Decoder, pixels: Tensor) -> Tensor:
    """Return the logits (N, bits) of 8-bit images (N, 3, H, W) of any size."""
    aspect = pixels.shape[-2] / pixels.shape[-1]
    x = network_input(pixels, decoder.resolution)
    return decoder.decode(x, torch.full((len(x),), aspect))[0]


def decode_batch(decoder: Decoder, pixels: Tensor) -> Tensor:
    """Return the bits (N, bits), int64, of 8-bit images (N, 3, H, W) of any size."""
    return (decode_logits(decoder, pixels) > 0).long()


def decode_pixels(decoder: Decoder, pixels: np.ndarray) -> NDArray[np.uint8]:
    """Return the bits (bits,) of an 8-bit image (H, W, 3) of any size."""
    bits = (decode_image_logits(decoder, pixels) > 0).numpy()
    return bits.astype(np.uint8)


@torch.inference_mode()
def decode_image_logits(decoder: Decoder, pixels: np.ndarray) -> Tensor:
    """Return the logits (bits,) of an 8-bit image (H, W, 3) of any size.

    A decoder that realigns also decodes the pictures within it, see `find_pictures`.
    """
    boxes = find_pictures(pixels) if realigns(decoder) else []
    places = [(0, pixels.shape[0], 0, pixels.shape[1]), *boxes]
    side = (decoder.resolution, decoder.resolution)
    x = to_unit(stack_pixels([resize(pixels[a:b, c:d], side) for a, b, c, d in places]))
    aspects = torch.tensor([(b - a) / (d - c) for a, b, c, d in places])
    logits, notes = decoder.decode(x, aspects)
    whole, rest = (logits[:1], notes[:1]), (logits[1:], notes[1:])
    return take_surer_pictures(whole, rest, [0] * len(boxes), boxes)[0][0]


@torch.inference_mode()
def fingerprint_image(
    encoder: Encoder,
    pixels: np.ndarray,
    message: NDArray[np.uint8],
    strength: float = 1.0,
    min_psnr: float = 0.0,
) -> np.ndarray:
    """Return an 8-bit image (H, W, 3) with a message (bits,) in it; see `Watermark.embed`."""
    image = stack_pixels([pixels])
    x = network_input(image, encoder.resolution)
    residual = encoder.residual(x, torch.from_numpy(message).float().unsqueeze(0))
    residual = limit_psnr(residual * strength, min_psnr)
    return add_residual(image, residual)[0].permute(1, 2, 0).contiguous().numpy()


@dataclass(frozen=True)
class Detection:
    """Decoded bits of an image, compared with a fingerprint.

    Attributes:
        decoded: Decoded bits, (bits,) uint8.
        matches: Number of bits that equal those of the fingerprint.
        bits: Number of bits.
        log_p: Natural logarithm of the p-value: of the probability that so many bits or more of an
            image without the fingerprint match, for a fingerprint that was drawn at random.

    Example:
        >>> print(Detection(np.ones(8, np.uint8), matches=8, bits=8, log_p=-5.545))
        8 of 8 bits match, p = 0.0039
    """

    decoded: NDArray[np.uint8]
    matches: int
    bits: int
    log_p: float

    def __str__(self) -> str:
        return f"{self.matches} of {self.bits} bits match, p = {format_p(self.log_p)}"


@dataclass(frozen=True)
class Watermark:
    """An encoder and its decoder, for images in memory.

    Images are Pillow images of any size and mode, arrays (H, W, 3) uint8, or batches of tensors
    (N, 3, H, W), float, in [0, 1].

    Args:
        encoder: Encoder, in evaluation mode.
        decoder: Decoder that was trained with it, in evaluation mode.

    Example:
        >>> from artfp.ownership.key import Key
        >>> watermark = Watermark.load("cifar32")
        >>> fingerprint = Key.from_seed(1).fingerprint(watermark.bits)  # a secret: Key.draw()
        >>> photograph = np.full((48, 64, 3), 100, np.uint8)
        >>> marked = watermark.embed(photograph, fingerprint)
        >>> marked.shape
        (48, 64, 3)
        >>> watermark.detect(marked, fingerprint).log_p < -10
        True
    """

    encoder: Encoder
    decoder: Decoder

    @classmethod
    def load(cls, name_or_path: str | Path, decoder: str | Path | None = None) -> Watermark:
        """Load shipped or own weights.

        Args:
            name_or_path: A shipped name, such as `photo128`, or the file of an encoder.
            decoder: Another shipped name or the file of a decoder; None: the one of that name, or
                the file beside the encoder's.

        Returns:
            The watermark, on the CPU.

        Raises:
            UserError: there are no such weights, they cannot be read, or the decoder has another
                number of bits.

        Example:
            >>> Watermark.load("photo128").bits
            100
        """
        weights = decoder or find_decoder(name_or_path)
        own = cls(load_encoder(name_or_path, decoder=decoder)[0], load_decoder(weights)[0])
        check_same_bits(own.encoder, own.decoder, str(name_or_path), str(weights))
        return own

    @property
    def bits(self) -> int:
        """Number of bits of a fingerprint."""
        return self.encoder.bits

    @overload
    def embed(
        self,
        images: Image.Image,
        fingerprint: ArrayLike,
        strength: float = 1.0,
        min_psnr: float = 0.0,
    ) -> Image.Image: ...

    @overload
    def embed(
        self,
        images: np.ndarray,
        fingerprint: ArrayLike,
        strength: float = 1.0,
        min_psnr: float = 0.0,
    ) -> np.ndarray: ...

    @overload
    def embed(
        self, images: Tensor, fingerprint: ArrayLike, strength: float = 1.0, min_psnr: float = 0.0
    ) -> Tensor: ...

    def embed(
        self,
        images: Image.Image | np.ndarray | Tensor,
        fingerprint: ArrayLike,
        strength: float = 1.0,
        min_psnr: float = 0.0,
    ) -> Image.Image | np.ndarray | Tensor:
        """Embed a fingerprint; the size of the images stays. Save them losslessly.

        Args:
            images: A Pillow image, an array (H, W, 3) uint8, or a batch (N, 3, H, W) in [0, 1].
            fingerprint: Bits (bits,) in {0, 1}; of a batch also (N, bits), one for each image.
            strength: Factor on the watermark residual; 1 is as trained.
            min_psnr: PSNR in dB that no image falls below; 0 is no limit.

        Returns:
            Fingerprinted images in the form of `images`: a Pillow image is upright and RGB, a batch
            is not rounded to 8 bits.

        Raises:
            ImageError: an image is too small, or a Pillow image has no 8-bit rendering.
            ValueError: an array or a batch has another shape, type or range, or the fingerprint
                another number of bits.

        Example:
            >>> watermark = Watermark.load("cifar32")
            >>> batch = torch.full((2, 3, 40, 40), 0.5)
            >>> watermark.embed(batch, [1] * watermark.bits).shape
            torch.Size([2, 3, 40, 40])
        """
        messages = _messages(fingerprint, self.bits)
        if isinstance(images, Tensor):
            return self._embed_batch(images, messages, strength, min_psnr)
        if messages.ndim != 1:
            raise ValueError(f"fingerprint has shape {messages.shape}; give one, ({self.bits},)")
        pixels = _pixels(images)
        self._check_size(pixels.shape[0], pixels.shape[1])
        marked = fingerprint_image(self.encoder, pixels, messages, strength, min_psnr)
        return Image.fromarray(marked) if isinstance(images, Image.Image) else marked

    def _check_size(self, height: int, width: int) -> None:
        if reason := refuse_small(height, width, self.bits, self.encoder.resolution):
            raise ImageError(reason)

    @torch.no_grad()
    def _embed_batch(
        self, x: Tensor, messages: NDArray[np.uint8], strength: float, min_psnr: float
    ) -> Tensor:
        self._check_size(x.shape[-2], x.shape[-1])
        seen = network_input(_pixels_of_batch(x), self.encoder.resolution).to(x.device)
        bits = torch.from_numpy(messages).to(seen).expand(len(x), self.bits)
        residual = limit_psnr(self.encoder.residual(seen, bits) * strength, min_psnr)
        resized = resize_residual(residual, (x.shape[-2], x.shape[-1]))
        return (x + resized.to(x)).clamp(0.0, 1.0)

    def decode(self, images: Image.Image | np.ndarray | Tensor) -> NDArray[np.uint8]:
        """Decode the bits of images.

        Args:
            images: A Pillow image, an array (H, W, 3) uint8, or a batch (N, 3, H, W) in [0, 1].

        Returns:
            Bits (bits,) in {0, 1}; of a batch (N, bits). An image without a fingerprint gives bits
            too: see `detect`.

        Raises:
            ImageError: a Pillow image has no 8-bit rendering.
            ValueError: an array or a batch has another shape, type or range.

        Example:
            >>> Watermark.load("cifar32").decode(np.zeros((48, 64, 3), np.uint8)).dtype
            dtype('uint8')
        """
        if not isinstance(images, Tensor):
            return decode_pixels(self.decoder, _pixels(images))
        aspect = torch.full((len(images),), images.shape[-2] / images.shape[-1])
        with torch.inference_mode():
            x = network_input(_pixels_of_batch(images), self.decoder.resolution)
            logits = self.decoder.decode(x.to(images.device), aspect)[0]
        bits: NDArray[np.uint8] = (logits > 0).cpu().numpy().astype(np.uint8)
        return bits

    @overload
    def detect(self, images: Image.Image | np.ndarray, fingerprint: ArrayLike) -> Detection: ...

    @overload
    def detect(self, images: Tensor, fingerprint: ArrayLike) -> list[Detection]: ...

    def detect(
        self, images: Image.Image | np.ndarray | Tensor, fingerprint: ArrayLike
    ) -> Detection | list[Detection]:
        """Decode images and compare the bits with a fingerprint.

        Args:
            images: A Pillow image, an array (H, W, 3) uint8, or a batch (N, 3, H, W) in [0, 1].
            fingerprint: Bits (bits,) in {0, 1}.

        Returns:
            The comparison; of a batch a list of them.

        Raises:
            ImageError: a Pillow image has no 8-bit rendering.
            ValueError: an array or a batch has another shape, type or range, or the fingerprint
                another number of bits.

        Example:
            >>> watermark = Watermark.load("cifar32")
            >>> gray = np.full((32, 32, 3), 128, np.uint8)
            >>> found = watermark.detect(gray, watermark.decode(gray))
            >>> found.matches == found.bits
            True
        """
        wanted = _messages(fingerprint, self.bits)
        if wanted.ndim != 1:
            raise ValueError(f"fingerprint has shape {wanted.shape}; give one, ({self.bits},)")
        decoded = self.decode(images)
        found = [self._compare(bits, wanted) for bits in np.atleast_2d(decoded)]
        return found if isinstance(images, Tensor) else found[0]

    def _compare(self, decoded: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> Detection:
        matches = int((decoded == wanted).sum())
        return Detection(decoded, matches, self.bits, float(log_p_value(matches, self.bits)))


def _messages(fingerprint: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Return bits (bits,) or (N, bits) as they were given, checked."""
    messages = np.asarray(fingerprint)
    if messages.ndim not in (1, 2) or messages.shape[-1] != bits:
        raise ValueError(f"fingerprint has shape {messages.shape}; these weights have {bits} bits")
    if not np.isin(messages, (0, 1)).all():
        raise ValueError("fingerprint holds other values than 0 and 1")
    return messages.astype(np.uint8)


def _pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 of an image."""
    if isinstance(image, Image.Image):
        return decode_picture(image).pixels
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}; give uint8 (H, W, 3)")
    return image


def _pixels_of_batch(x: Tensor) -> Tensor:
    """Return the 8-bit pixels of a batch, on the CPU, as files would hold them."""
    if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
        raise ValueError(f"batch is {x.dtype} {tuple(x.shape)}; give floats (N, 3, H, W)")
    if x.numel() and not (float(x.min()) >= 0.0 and float(x.max()) <= 1.0):
        raise ValueError("batch has values outside [0, 1]")
    return to_8bit(x.detach().float().cpu())
