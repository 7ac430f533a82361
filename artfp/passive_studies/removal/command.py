"""`artfp attribute remove`."""

from __future__ import annotations

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console
from artfp.passive_studies.removal.settings import RemovalSettings

DESCRIPTION = """\
Subtract the residual fingerprint of a source from its images and measure the cost. This exists to
measure robustness: how small a change defeats an attribution by noise residuals, so that nobody
relies on one where an adversary may have been at work.

The result is 8-bit images. Fingerprints are often below half a grey level: rounded to the nearest
level, an image would not change at all. So it is rounded at random, without bias."""

EPILOG = """\
examples:
  artfp attribute study sources/ --output_dir study/      # estimates the fingerprints
  artfp attribute remove images/ --output_dir attacked/ --strength 1 \\
      --residual_fingerprint study/fingerprints/dcgan.safetensors

writes into --output_dir: images/, PNG; removal.csv and removal.json, PSNR and correlations before
and after; removal.png, histograms of these.

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _remove(settings: RemovalSettings) -> int:
    from artfp.passive_studies.removal.study import remove_fingerprint

    found = remove_fingerprint(settings)
    summary = found.summary
    console().print(
        f"{count_images(summary.images)}: PSNR {summary.psnr:.2f} dB, correlation with "
        f"{found.source} "
        f"{summary.correlation_before:.4f} before and {summary.correlation_after:.4f} after\n"
        f"wrote images, removal.csv, removal.json, removal.png into {settings.output_dir}",
        soft_wrap=True,
        markup=False,
    )
    return report_unusable(found.failed)


COMMAND = Command(RemovalSettings, _remove, DESCRIPTION, EPILOG)
