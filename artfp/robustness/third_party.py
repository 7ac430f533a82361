"""Other people's watermarks, for comparison: optional, `pip install -e '.[peers]'`.

invisible-watermark 0.2 (github ShieldMnt/invisible-watermark; rivaGan is Zhang et al. 2019, arXiv
1909.01285) and blind-watermark 0.4 (github guofei9987/blind_watermark), with the defaults of their
documentation. Both work on BGR images, as OpenCV does; everything here is RGB.
"""

from __future__ import annotations

import importlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit

_LEAST_AREA = 256 * 256


class ThirdPartyWatermark:
    """Third-party method: an `Embedder` that also decodes.

    Subclasses define `embed`, `read_image` and `refuses`. Other packages add one by the entry
    point `artfp.methods`.

    Attributes:
        bits: Length of the messages.
        settings: Values that decide the results, such as the version of the package, as JSON.

    Example:
        >>> class LowestBits(ThirdPartyWatermark):
        ...     bits, settings = 8, {"package": "lowest-bits 1.0"}
        ...     def embed(self, pixels, message):
        ...         pixels = pixels.copy()
        ...         pixels[0, : self.bits, 0] = pixels[0, : self.bits, 0] // 2 * 2 + message
        ...         return pixels
        ...     def read_image(self, pixels):
        ...         return pixels[0, : self.bits, 0] % 2
        ...     def refuses(self, height, width):
        ...         return None if width >= self.bits else "it needs 8 columns"
        >>> method = LowestBits()
        >>> message = np.array([1, 0, 1, 1, 0, 0, 1, 0], dtype=np.uint8)
        >>> marked = method.embed(np.full((16, 16, 3), 100, dtype=np.uint8), message)
        >>> method.read_image(marked).tolist()
        [1, 0, 1, 1, 0, 0, 1, 0]
    """

    bits = 0
    settings: dict[str, object]

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Embed a message (bits,) in an 8-bit RGB image (H, W, 3); return a new image."""
        raise NotImplementedError

    def read_image(self, pixels: np.ndarray) -> NDArray[np.uint8]:
        """Decode an 8-bit RGB image (H, W, 3) to bits (bits,)."""
        raise NotImplementedError

    def refuses(self, height: int, width: int) -> str | None:
        """Return the reason why images of a size cannot be used, or None if they can."""
        raise NotImplementedError

    def read(self, x: Tensor) -> Tensor:
        """Decode images (N, 3, H, W) in [0, 1] to bits (N, bits), one after the other."""
        images = to_8bit(x).permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(np.stack([self.read_image(image) for image in images]))


class InvisibleWatermark(ThirdPartyWatermark):
    """invisible-watermark with 32 bits: `dwtDct`, `dwtDctSvd` or `rivaGan`."""

    bits = 32

    def __init__(self, method: str) -> None:
        """Load the method. Raises UserError: the package is not installed."""
        self._package = _load("imwatermark", method)
        self._method = method
        if method == "rivaGan":
            _load("onnxruntime", method)
            self._package.WatermarkEncoder.loadModel()
        self.settings = {"package": f"invisible-watermark {version('invisible-watermark')}"}

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Embed a message (bits,) in an 8-bit RGB image (H, W, 3)."""
        encoder = self._package.WatermarkEncoder()
        encoder.set_watermark("bits", [int(bit) for bit in message])
        return _swapped(encoder.encode(_swapped(pixels), self._method))

    def read_image(self, pixels: np.ndarray) -> NDArray[np.uint8]:
        """Decode an 8-bit RGB image (H, W, 3)."""
        decoder = self._package.WatermarkDecoder("bits", self.bits)
        return np.asarray(decoder.decode(_swapped(pixels), self._method)).astype(np.uint8)

    def refuses(self, height: int, width: int) -> str | None:
        """Return a reason for images of fewer than 256 x 256 pixels, in any shape."""
        return None if height * width >= _LEAST_AREA else "it needs 256x256 pixels"


class BlindWatermark(ThirdPartyWatermark):
    """blind-watermark with 64 bits, both passwords 1."""

    bits = 64

    def __init__(self) -> None:
        """Load it. Raises UserError: the package is not installed."""
        with _start_method_kept():
            self._package = _load("blind_watermark", "blind-watermark")
        self._package.bw_notes.close()
        self.settings = {"package": f"blind-watermark {version('blind-watermark')}"}

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Embed a message (bits,) in an 8-bit RGB image (H, W, 3)."""
        mark = self._mark()
        mark.read_img(img=_swapped(pixels))
        mark.read_wm(message.astype(bool), mode="bit")
        return _swapped(np.rint(mark.embed()).astype(np.uint8))  # rounded, as its files are

    def read_image(self, pixels: np.ndarray) -> NDArray[np.uint8]:
        """Decode an 8-bit RGB image (H, W, 3)."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # its k-means on equal values
            found = self._mark().extract(embed_img=_swapped(pixels), wm_shape=self.bits, mode="bit")
        return np.asarray(found).astype(np.uint8)

    def refuses(self, height: int, width: int) -> str | None:
        """Return a reason for images without one block of 8 x 8 pixels more than bits."""
        blocks = ((height + 1) // 2 // 4) * ((width + 1) // 2 // 4)
        return None if blocks > self.bits else f"it needs more than {self.bits} blocks of 8x8"

    def _mark(self) -> Any:
        return self._package.WaterMark(password_img=1, password_wm=1)


PEERS: dict[str, Callable[[], ThirdPartyWatermark]] = {
    "dwtDct": lambda: InvisibleWatermark("dwtDct"),
    "dwtDctSvd": lambda: InvisibleWatermark("dwtDctSvd"),
    "rivaGan": lambda: InvisibleWatermark("rivaGan"),
    "blind-watermark": BlindWatermark,
}
"""Functions that load the third-party methods, by name."""


def _load(module: str, method: str) -> Any:
    """Import a module of the extra `peers`; UserError if it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{method} needs a package that is not installed ({error}); "
            "run: pip install -e '.[peers]'"
        ) from error


def _swapped(pixels: np.ndarray) -> np.ndarray:
    """RGB to BGR, or back; a copy, since some packages write into what they are given."""
    return np.ascontiguousarray(pixels[..., ::-1])


@contextmanager
def _start_method_kept() -> Iterator[None]:
    """Importing blind_watermark sets the start method of processes, and fails if it is set."""
    kept = multiprocessing.set_start_method
    multiprocessing.set_start_method = lambda *args, **kwargs: None
    try:
        yield
    finally:
        multiprocessing.set_start_method = kept
