"""Training of the denoiser of the extractor `learned`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from artfp.core.errors import UserError
from artfp.core.fitting import fit
from artfp.core.lightning import check_loss, new_trainer
from artfp.core.lightning_progress import LightningProgress
from artfp.data.bundle import (
    Card,
)
from artfp.data.pixels import as_batch
from artfp.data.reading import Failed, read_images
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import Subset, limit_images
from artfp.data.train_module import split_names
from artfp.metrics.fidelity import psnr_of_error
from artfp.passive.residuals.denoiser import Denoiser, save_denoiser
from artfp.passive.residuals.extractor import Extractor, load_extractor
from artfp.passive.residuals.filters import mirror_padded
from artfp.passive.residuals.settings import DenoiserSettings

TRAINING_SIGMAS = (1.0, 10.0)
"""Least and largest noise in a training, in grey levels; logarithms are uniform in between."""

MEASURED_SIGMAS = (2.0, 5.0, 10.0)
"""Noise at which a trained denoiser is measured, in grey levels."""

_PATCH = 96
_MIN_SIDE, _MAX_ZOOM = 32, 2.0
_MEASURED_IMAGES = 128
_LOG_EVERY = 500
_TRIES = 20
_log = logging.getLogger("artfp")


class Patches(Dataset[Tensor]):
    """Patches (N, 3, S, S) in [0, 1] of images of one source, for each step of a training.

    S is 96, or less where an image is smaller, with as many patches as cost about the same. Half of
    the batches are enlarged, up to twice, or reduced, down to 32 pixels: photographs are smooth
    from near and crisp from afar. A batch depends on the seed and the step alone.
    """

    def __init__(self, sources: Sequence[ImageSource], settings: DenoiserSettings) -> None:
        self.sources, self.settings = sources, settings
        self.left_out: list[tuple[str, str]] = []

    def __len__(self) -> int:
        """Return the number of batches, one a step."""
        return self.settings.max_steps

    def __getitem__(self, step: int) -> Tensor:
        """Return the patches of a step. Raises UserError: image after image cannot be read."""
        draws = np.random.default_rng((self.settings.seed, step))
        source = self.sources[step % len(self.sources)]
        first = self._image(source, draws)
        shorter = min(first.shape[2:])
        zoom = 1.0
        if draws.random() < 0.5:
            low = min(1.0, _MIN_SIDE / shorter)
            zoom = float(np.exp(draws.uniform(np.log(low), np.log(_MAX_ZOOM))))
        side = max(1, min(_PATCH, int(shorter * zoom)))
        border = 2 * Denoiser.margin
        count = self.settings.batch_size * (_PATCH + border) ** 2 // (side + border) ** 2
        images = [first, *(self._image(source, draws) for _ in range(count - 1))]
        return torch.cat([_patch(image, side, zoom, draws) for image in images])

    def _leave_out(self, location: str, name: str, reason: str) -> None:
        if (location, name) not in self.left_out:
            self.left_out.append((location, name))
            _log.warning("left out %r: %s", name, reason)

    def _image(self, source: ImageSource, draws: np.random.Generator) -> Tensor:
        failed: Failed = []
        indices = (int(draws.integers(len(source))) for _ in range(_TRIES))
        for image in read_images(source, failed, indices):
            for name, reason in failed:
                self._leave_out(source.location, name, reason)
            return as_batch(image.pixels)
        raise UserError(
            f"{source.location}: {_TRIES} images cannot be read; the last: {failed[-1][1]}"
        )


def _patch(image: Tensor, side: int, zoom: float, draws: np.random.Generator) -> Tensor:
    """Return a patch (1, 3, side, side) of an image (1, 3, H, W), enlarged by `zoom`."""
    height, width = image.shape[2:]
    own = min(height, width, max(1, round(side / zoom)))
    top, left = (int(draws.integers(0, n - own + 1)) for n in (height, width))
    patch = image[..., top : top + own, left : left + own]
    if own == side:
        return patch
    size = (side, side)
    return F.interpolate(patch, size, mode="bicubic", antialias=True).clamp_(0.0, 1.0)


class DenoiserModule(pl.LightningModule):
    """Lightning module of a denoiser; batches are patches (N, 3, S, S) in [0, 1]."""

    def __init__(self, settings: DenoiserSettings) -> None:
        super().__init__()
        self.settings = settings
        self._losses: list[float] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = Denoiser(settings.width)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def configure_optimizers(self) -> Any:
        """Return Adam, whose learning rate rises and falls by one cycle."""
        optimizer = torch.optim.Adam(self.parameters(), self.settings.lr)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.settings.lr, total_steps=self.settings.max_steps + 1, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the mean squared error of the noise over its variance, mirrored as in use."""
        loss = self._loss(batch, self.settings.seed * 1_000_003 + batch_idx)
        check_loss(self, loss)
        self.log("train/loss", loss, prog_bar=True)
        self._losses.append(float(loss.detach()))
        if len(self._losses) == _LOG_EVERY:
            mean = sum(self._losses) / _LOG_EVERY
            _log.info("step %d: %.4f of the noise's power is left", batch_idx + 1, mean)
            self._losses.clear()
        return loss

    def _loss(self, batch: Tensor, seed: int) -> Tensor:
        # Each plane gets noise of its own sigma; the error is measured in units of that sigma.
        draws = torch.Generator().manual_seed(seed)
        planes = batch.flatten(0, 1)
        low, high = TRAINING_SIGMAS
        exponent = torch.rand(len(planes), generator=draws)
        sigma = (low * (high / low) ** exponent / 255.0).to(planes)
        unit = torch.randn(planes.shape, generator=draws).to(planes)
        noisy = planes + unit * sigma[:, None, None]
        predicted = self.network(mirror_padded(noisy[:, None], self.network.margin)[:, 0], sigma)
        error = predicted / sigma[:, None, None] - unit
        loss: Tensor = error.square().mean()
        return loss


def train_denoiser(settings: DenoiserSettings) -> Card:
    """Train a denoiser, write it with its card, and return the card.

    Args:
        settings: Images, length of the training, and the file to write.

    Returns:
        The card; `measured` has PSNR in dB on images that were set aside.

    Raises:
        UserError: images that cannot be read, or a training that Lightning refuses.

    Example:
        >>> settings = DenoiserSettings(data_dir=("photos",), output="own.safetensors")
        >>> card = train_denoiser(settings)  # doctest: +SKIP
        >>> card["measured"]["photos"]["noise 5"]["learned"]  # doctest: +SKIP
        38.1
    """
    training, held_out = [], []
    for path in settings.data_dir:
        source = limit_images(open_source(path), settings.limit)
        used, unused = (Subset(source, indices) for indices in split_names(source.names))
        training.append(used)
        held_out.append(limit_images(unused, _MEASURED_IMAGES))
    module = DenoiserModule(settings)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    trainer = new_trainer(
        max_epochs=1,
        gradient_clip_val=1.0,
        callbacks=[LightningProgress()],
        precision=settings.precision,
        logger=False,
        devices=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    patches = Patches(training, settings)
    fit(trainer, module, DataLoader(patches, batch_size=None))
    left_out = Counter(location for location, _ in patches.left_out)
    card: Card = {
        "training": {
            # A card travels with the weights: it names the data, not where they lie.
            "command": settings.command_line("artfp denoiser", names_only=True),
            "data": [Path(path).name for path in settings.data_dir],
            "images": [len(source) - left_out[source.location] for source in training],
            **({"left_out": left_out.total()} if left_out else {}),
            "sigmas": list(TRAINING_SIGMAS),
            "settings": {
                key: value
                for key, value in settings.to_mapping().items()
                if key not in ("data_dir", "output")
            },
        }
    }
    save_denoiser(module.network.cpu(), settings.output, card)
    card["measured"] = {
        Path(source.location).name: measure_denoising(source, f"learned:weights={settings.output}")
        for source in held_out
    }
    return save_denoiser(module.network, settings.output, card)


def measure_denoising(source: ImageSource, learned: str) -> dict[str, Any]:
    """Measure the PSNR in dB of denoised images, by the grey levels of the noise.

    Args:
        source: Images of any sizes.
        learned: The extractor to compare, without its sigma. The Gaussian beside it has the best
            width, in steps of a tenth of a pixel, chosen on these images.

    Returns:
        The number of images, and for each noise the PSNR by extractor.
    """
    images = [as_batch(image.pixels) for image in read_images(source, [])]
    found: dict[str, Any] = {"images": len(images)}
    for sigma in MEASURED_SIGMAS:
        draws = torch.Generator().manual_seed(0)
        noise = [torch.randn(x.shape, generator=draws) * (sigma / 255.0) for x in images]
        gaussians = [load_extractor(f"gaussian:sigma={i / 10}") for i in range(2, 11)]
        found[f"noise {sigma:g}"] = {
            "noisy": _psnr(noise),
            "gaussian": max(_denoised_psnr(images, noise, each) for each in gaussians),
            "wiener": _denoised_psnr(images, noise, load_extractor(f"wiener:sigma={sigma}")),
            "wavelet": _denoised_psnr(images, noise, load_extractor(f"wavelet:sigma={sigma}")),
            "learned": _denoised_psnr(images, noise, load_extractor(f"{learned},sigma={sigma}")),
        }
    return found


def _denoised_psnr(images: list[Tensor], noise: list[Tensor], extractor: Extractor) -> float:
    return _psnr([n - extractor(x + n) for x, n in zip(images, noise, strict=True)])


def _psnr(errors: list[Tensor]) -> float:
    return psnr_of_error(float(torch.stack([error.square().mean() for error in errors]).mean()))
