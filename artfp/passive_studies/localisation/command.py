"""`artfp attribute localise`."""

from __future__ import annotations

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console
from artfp.passive_studies.localisation.settings import LocaliseSettings

DESCRIPTION = """\
Show where images carry the residual fingerprint of a source and where not, such as in a region that
was spliced in from elsewhere: the correlation of noise residual and fingerprint in a window around
every pixel.

A low correlation is no proof: where an image is dark, saturated or textured, the fingerprint is
weak too. Larger windows are more reliable and less precise."""

EPILOG = """\
examples:
  artfp attribute study sources/ --output_dir study/      # estimates the fingerprints
  artfp attribute localise suspect.png --output_dir localised/ --window 64 \\
      --residual_fingerprint study/fingerprints/camera.safetensors

writes into --output_dir: heatmaps/, a figure for each image; windows.csv, the correlations of
windows that lie half a window apart; localise.json. Images larger than the fingerprint are cropped
to it at the right and the bottom.

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _localise(settings: LocaliseSettings) -> int:
    from artfp.passive_studies.localisation.report import lowest_windows_table
    from artfp.passive_studies.localisation.study import localise_splices

    found = localise_splices(settings)
    console().print(lowest_windows_table(found.images))
    console().print(
        f"{count_images(len(found.images))}; wrote heatmaps, windows.csv, localise.json "
        f"into {settings.output_dir}",
        soft_wrap=True,
        markup=False,
    )
    return report_unusable(found.failed)


COMMAND = Command(LocaliseSettings, _localise, DESCRIPTION, EPILOG)
