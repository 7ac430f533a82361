"""Removal attack on a set of images: attacked images, tables and a figure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from artfp import __version__
from artfp.core.run_folder import exclusive
from artfp.data.content import source_digest
from artfp.data.files import write_atomic
from artfp.data.naming import output_names
from artfp.data.reading import Failed
from artfp.data.resume import Manifest
from artfp.data.sources import open_source
from artfp.data.writing import encode_image
from artfp.passive.attributors.mean_residual import read_mean_residual
from artfp.passive_studies.removal.attack import RemovalMeasurement, attack_images
from artfp.passive_studies.removal.report import (
    RemovalSummary,
    measurements_csv,
    plot_correlations,
    summarise,
)
from artfp.passive_studies.removal.settings import RemovalSettings


@dataclass(frozen=True)
class Removal:
    """Results of `remove_fingerprint`.

    Args:
        source: Source whose fingerprint was subtracted.
        images: Measurement of each image.
        failed: Images that could not be used, with the reasons.

    Example:
        >>> measured = RemovalMeasurement("a.png", 48.1, 0.4, 0.01)
        >>> Removal("dcgan", (measured,), []).summary.psnr
        48.1
    """

    source: str
    images: tuple[RemovalMeasurement, ...]
    failed: Failed

    @property
    def summary(self) -> RemovalSummary:
        """Means over the images."""
        return summarise(self.images)


@exclusive
def remove_fingerprint(settings: RemovalSettings) -> Removal:
    """Subtract a residual fingerprint from images, and measure cost and effect.

    A counter-forensic attack like that of Gloe, Kirchner, Winkler and Boehme 2007 ("Can we trust
    digital image forensics?") on cameras, to measure how robust an attribution is. Attacked images,
    removal.csv, removal.json and removal.png are written into the output folder.

    Args:
        settings: Images, residual fingerprint, attack, and the output folder.

    Returns:
        PSNR and correlations of each image; images that could not be used.

    Raises:
        UserError: no image can be used, or no such fingerprint.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> from artfp.passive.residuals import ResidualFingerprintSettings
        >>> from artfp.passive.residuals import make_residual_fingerprint
        >>> folder = tempfile.mkdtemp()
        >>> pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        >>> Image.fromarray(pixels).save(f"{folder}/noise.png")
        >>> path = f"{folder}/dcgan.safetensors"
        >>> _ = make_residual_fingerprint(
        ...     ResidualFingerprintSettings(data_dir=folder, output=path, cuda=-1)
        ... )
        >>> found = remove_fingerprint(RemovalSettings(
        ...     data_dir=f"{folder}/noise.png", residual_fingerprint=path,
        ...     output_dir=f"{folder}/out", cuda=-1,
        ... ))
        >>> found.images[0].correlation_before > found.images[0].correlation_after
        True
    """
    source = open_source(settings.data_dir)
    fingerprint = read_mean_residual(settings.residual_fingerprint, settings.source)
    output = settings.output_dir
    Manifest.claim(output, {"data_sha256": source_digest(source)}, "removal")
    failed: Failed = []
    names = dict(zip(source.names, output_names(source.names, ".png"), strict=True))
    images: list[RemovalMeasurement] = []
    for each in attack_images(source, fingerprint, settings, failed, settings.torch_device()):
        path = output / "images" / names[each.measurement.file]
        write_atomic(path, encode_image(each.pixels))
        images.append(each.measurement)
    found = Removal(fingerprint.source, tuple(images), failed)
    record: dict[str, Any] = {
        "software": f"artfp {__version__}",
        "fingerprint": {
            "source": fingerprint.source,
            "extractor": fingerprint.extractor.text,
            "size": list(fingerprint.size),
        },
        "attack": {
            name: getattr(settings, name) for name in ("strength", "mode", "rounding", "seed")
        },
        **asdict(found.summary),
    }
    write_atomic(output / "removal.csv", measurements_csv(images))
    write_atomic(output / "removal.json", json.dumps(record, indent=1) + "\n")
    write_atomic(output / "removal.png", plot_correlations(images, fingerprint.source))
    return found
