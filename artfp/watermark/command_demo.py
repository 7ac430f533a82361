"""`artfp demo`: the whole chain on a few photographs, without a GPU and without data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artfp.core.console import console, prepare_terminal
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Draw a fresh key, embed its fingerprint in six photographs that come with scikit-image, write them
as PNG, and decode them from disk, beside the untouched ones."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = make_parser("artfp demo", DESCRIPTION)
    parser.add_argument("--output_dir", default="demo", help="Folder for images and the picture.")
    parser.add_argument("--weights", default="photo128", help="Shipped weights, by name.")
    args = parser.parse_args(argv)
    prepare_terminal()
    from rich.table import Table

    from artfp.stats import format_p
    from artfp.watermark.demo import demo

    rows, bits, picture = demo(Path(args.output_dir), args.weights)
    table = Table(
        "photograph",
        "size",
        "bits matched",
        "p-value",
        "untouched: bits",
        "p-value",
        "PSNR dB",
        "SSIM",
    )
    for row in rows:
        table.add_row(
            row.name,
            f"{row.width}x{row.height}",
            f"{row.matches} of {bits}",
            format_p(row.log_p),
            f"{row.matches_untouched} of {bits}",
            format_p(row.log_p_untouched),
            f"{row.psnr:.2f}",
            f"{row.ssim:.4f}",
        )
    out = console()
    out.print(table)
    out.print(f"original, fingerprinted, difference x10: {picture}", soft_wrap=True)
    return 0
