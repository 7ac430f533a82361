"""`artfp denoiser`: train the denoiser of the extractor `learned`."""

from __future__ import annotations

from artfp.core.command import Command
from artfp.core.console import console, print_next_step
from artfp.passive.residuals.settings import DenoiserSettings

DESCRIPTION = """\
Train a small network to find Gaussian noise of 1 to 10 grey levels in your images. What it then
finds in an image is a noise residual, beside those of the wavelet and the other filters: extractor
learned. A denoiser comes with artfp; train another where your images are of another kind.

The result's card has the PSNR that it leaves on images that were set aside."""

EPILOG = """\
examples:
  artfp denoiser --data_dir photos/ --output denoiser.safetensors

exit codes: 0 trained, 2 bad input, 130 interrupted (nothing is kept: it takes minutes)"""


def _denoiser(settings: DenoiserSettings) -> int:
    from rich.table import Table

    from artfp.passive.residuals.denoiser_training import train_denoiser

    card = train_denoiser(settings)
    for name, measured in card["measured"].items():
        rows = {noise: each for noise, each in measured.items() if noise != "images"}
        title = f"{name}: {measured['images']} images that were set aside"
        table = Table("PSNR in dB", *next(iter(rows.values())), title=title)
        for noise, each in rows.items():
            table.add_row(noise, *(f"{value:.2f}" for value in each.values()))
        console().print(table)
    print(f"wrote {settings.output}")
    print_next_step(f"artfp attribute fingerprint --extractor learned:weights={settings.output}")
    return 0


COMMAND = Command(DenoiserSettings, _denoiser, DESCRIPTION, EPILOG)
