"""Residual fingerprint of a source from its image files, in one pass and constant memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.image_files import HEAD_BYTES, image_format
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, UpperLeft, batch_images, read_images, stack_pixels
from artfp.data.sources import ImageSource, open_source
from artfp.passive.residuals.extractor import Extractor, load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive.residuals.settings import ResidualFingerprintSettings

_BATCH_PIXELS = 1 << 18
"""Pixels of a batch of several images, at most."""


def make_residual_fingerprint(
    settings: ResidualFingerprintSettings,
) -> tuple[ResidualFingerprint, Failed]:
    """Estimate the residual fingerprint of a source, merge others into it, and write it.

    What `artfp attribute fingerprint` does. The fingerprint is the mean noise residual of the
    source's images (Marra et al. 2019, arXiv 1812.11842).

    Args:
        settings: Images, files to merge, extractor, and the file to write.

    Returns:
        The fingerprint as written, and names of images that could not be used, with reasons.

    Raises:
        UserError: no image can be used, a file is no residual fingerprint, or they cannot be
            merged.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        >>> Image.fromarray(pixels).save(f"{folder}/noise.png")
        >>> output = f"{folder}/camera.safetensors"
        >>> found, failed = make_residual_fingerprint(
        ...     ResidualFingerprintSettings(data_dir=folder, output=output, cuda=-1)
        ... )
        >>> found.source, found.count, failed
        ('camera', 1, [])
    """
    name = settings.source or settings.output.stem
    parts = [ResidualFingerprint.load(path) for path in settings.merge]
    failed: Failed = []
    if settings.data_dir is not None:
        estimated, failed = estimate_fingerprint(
            open_source(settings.data_dir),
            load_extractor(settings.extractor),
            name,
            parts[0].shape[1:] if parts else None,
            settings.weighted,
            device=settings.torch_device(),
        )
        parts.append(estimated)
    fingerprint, *others = parts
    for other in others:
        fingerprint.merge(other)
    fingerprint.source = name
    fingerprint.save(settings.output)
    return fingerprint, failed


def estimate_fingerprint(
    source: ImageSource,
    extractor: Extractor,
    name: str,
    size: tuple[int, int] | None = None,
    weighted: bool = False,
    prepare: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[ResidualFingerprint, Failed]:
    """Estimate the residual fingerprint of a source's images.

    Images are never resized. Larger ones are cropped at the right and the bottom, before the
    extractor sees them; smaller ones are left out. Each image is read once.

    Args:
        source: Images of one source.
        extractor: Extractor of noise residuals.
        name: Name of the source.
        size: (height, width) of the fingerprint; None for that of the first image.
        weighted: True to keep what maximum likelihood needs.
        prepare: Function of images (N, 3, H, W) in [0, 1] that returns what the extractor takes,
            such as luminance.
        device: Device of the extractor.

    Returns:
        The fingerprint, and names of images that could not be used, with reasons.

    Raises:
        UserError: no image can be used.
    """
    failed: Failed = []
    found: ResidualFingerprint | None = None
    with Progress("Extracting residuals", len(source)) as progress:
        images = read_images(
            source, failed, prepare=UpperLeft(size), progress=progress, orientation=False
        )
        for batch in batch_images(images, most=_BATCH_PIXELS, pixels=_BATCH_PIXELS):
            x = to_unit(stack_pixels([image.pixels for image in batch]).to(device))
            x = prepare(x) if prepare else x
            residuals = extractor(x)
            if found is None:
                shape = residuals.shape[1:]
                found = ResidualFingerprint.empty(shape, extractor.text, name, weighted)
            found.add(residuals, x if weighted else None)
            found.codecs.update(codec_of(image.data) for image in batch)
            found.sizes.update("{1}x{0}".format(*image.size) for image in batch)
    if found is None:
        reason = f" ({failed[0][0]}: {failed[0][1]})" if failed else ""
        raise UserError(f"{source.location}: no image can be used{reason}")
    return found, failed


def codec_of(data: bytes) -> str:
    """Return JPEG, PNG, WEBP, BMP, TIFF, AVIF or "unknown", by an image file's first bytes."""
    return image_format(data[:HEAD_BYTES]) or "unknown"
