"""`artfp demo`: the whole chain on a few photographs, without a GPU and without data."""

from __future__ import annotations

from artfp.core.command import Command
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.data.tables import Column, rich_table
from artfp.watermark.settings import DemoSettings

DESCRIPTION = """\
Draw a fresh key, embed its fingerprint in six photographs that come with scikit-image, write them
as PNG, and decode them from disk, beside the untouched ones. The column S-CIELAB is the difference
that an eye sees: the 95th percentile of the pixels, at 60 pixels a degree.
Once more, with the same folder, the same key is used."""

EPILOG = """\
examples:
  artfp demo
  artfp demo --output_dir elsewhere --weights transfer32

exit codes: 0 done"""


def _demo(settings: DemoSettings) -> int:
    from artfp.stats import format_p
    from artfp.watermark.demo import run_demo

    result = run_demo(settings)
    columns = (
        Column("photograph", "name"),
        Column("size", lambda row: f"{row.width}x{row.height}"),
        Column("bits matched", lambda row: f"{row.matches} of {result.bits}"),
        Column("p-value", "log_p", format_p),
        Column("untouched: bits", lambda row: f"{row.matches_untouched} of {result.bits}"),
        Column("p-value", "log_p_untouched", format_p),
        Column("PSNR dB", "psnr", ".2f"),
        Column("SSIM", "ssim", ".4f"),
        Column("S-CIELAB", "scielab_p95_60", ".2f"),
    )
    console().print(rich_table(result.rows, columns, boxed=True))
    console().print(result.visibility, markup=False, soft_wrap=True)
    picture = one_line(str(result.picture))
    console().print(f"original, fingerprinted, difference x10: {picture}", soft_wrap=True)
    print_next_step(
        "your own images: artfp embed --data_dir IMAGES --output_dir OUT --identical_fingerprints"
    )
    return 0


COMMAND = Command(DemoSettings, _demo, DESCRIPTION, EPILOG)
