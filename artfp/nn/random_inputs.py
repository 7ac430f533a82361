"""Random inputs of networks: random numbers for a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor


class RandomInputs:
    """Random numbers for a batch of images, from one generator and on its device.

    Each method returns a row for each image.

    Args:
        generator: Source of the numbers.
        count: Number of images N.

    Example:
        >>> rng = RandomInputs(torch.Generator().manual_seed(1), 4)
        >>> rng.normal(128).shape, rng.integers(10).shape
        (torch.Size([4, 128]), torch.Size([4]))
    """

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self.generator, self.count, self.device = generator, count, generator.device

    def __len__(self) -> int:
        """Number of images."""
        return self.count

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers (N, *shape)."""
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers (N, *shape), uniform in [0, 1)."""
        return torch.rand(self.count, *shape, generator=self.generator, device=self.device)

    def integers(self, below: int, *shape: int) -> Tensor:
        """Return integers (N, *shape), int64, uniform in 0 to `below` - 1."""
        size = (self.count, *shape)
        return torch.randint(below, size, generator=self.generator, device=self.device)


class ImageRandomInputs(RandomInputs):
    """Random numbers of which each image has a stream of its own.

    So an image is the same in whatever batch it is generated, also by a model that draws again and
    again, as a diffusion does. The numbers are drawn on the CPU: they are the same on all devices.

    Args:
        seed: Seed of all images.
        images: Number of each image; with the seed it decides the image's row.
        device: Device of the results.

    Example:
        >>> ten, two = ImageRandomInputs(0, range(10)), ImageRandomInputs(0, [3, 4])
        >>> torch.equal(ten.normal(5)[3:5], two.normal(5))
        True
    """

    def __init__(
        self, seed: int, images: Iterable[int], device: torch.device | str = "cpu"
    ) -> None:
        # Not torch's generators: they use 32 bits of a seed, and 50,000 images would hold twins.
        self._streams = [np.random.default_rng(derive_seed(seed, image)) for image in images]
        super().__init__(torch.Generator(), len(self._streams))
        self.device = torch.device(device)

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers (N, *shape)."""
        return self._rows(lambda stream: stream.standard_normal(shape, np.float32))

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers (N, *shape), uniform in [0, 1)."""
        return self._rows(lambda stream: stream.random(shape, np.float32))

    def integers(self, below: int, *shape: int) -> Tensor:
        """Return integers (N, *shape), int64, uniform in 0 to `below` - 1."""
        return self._rows(lambda stream: stream.integers(below, size=shape))

    def _rows(self, draw: Callable[[np.random.Generator], object]) -> Tensor:
        rows = np.stack([np.asarray(draw(stream)) for stream in self._streams])
        return torch.from_numpy(rows).to(self.device)


def derive_seed(*numbers: int) -> int:
    """Return a seed of 64 bits that differs wherever one of these numbers does."""
    digest = blake2b(repr(numbers).encode("ascii"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
