"""`artfp attribute localise`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.legacy import make_parser
from artfp.passive.command_options import add_print_options

DESCRIPTION = """\
Show where images carry the fingerprint of a source and where not, such as in a region that was
pasted in from elsewhere: the correlation of residual and fingerprint in windows at every place.

A low correlation is no proof: where an image is dark, saturated or full of texture, the fingerprint
is weak too. Larger windows tell more reliably and less precisely where."""

EPILOG = """\
examples:
  artfp attribute study sources/ --output_dir study/      # estimates the fingerprints
  artfp attribute localise suspect.png --fingerprint study/fingerprints/camera.safetensors \\
      --output_dir where/ --window 64

writes into --output_dir: heatmaps/, a picture for each image; windows.csv, the correlations of
windows that lie half a window apart; localise.json. Images larger than the fingerprint are cut to
it at the right and the bottom.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("images", type=str, help="Image, folder, zip or list of images.")
    add_print_options(parser)
    add("--output_dir", required=True, help="Folder for heat maps and tables.")
    add("--window", type=int | None, default=None,
        help="Pixels a side of the windows; default: a quarter of the shorter side.")  # fmt: skip
    add("--threshold", type=float | None, default=None, metavar="CORRELATION",
        help="Outline what is under it, and tell its share of each image.")  # fmt: skip
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""

    import artfp
    from artfp.data.files import write_atomic
    from artfp.data.naming import output_names
    from artfp.data.reading import Failed
    from artfp.data.sources import open_source
    from artfp.data.tables import csv_line, rich_table
    from artfp.passive.attributors.mean_residual import read_mean_residual
    from artfp.passive_studies.localisation.localise import localised
    from artfp.passive_studies.localisation.report import (
        COLUMNS,
        heat_map,
        image_json,
        window_lines,
    )

    source, fingerprint = (
        open_source(args.images),
        read_mean_residual(args.fingerprint, args.source),
    )
    output, failed = Path(args.output_dir), Failed()
    pictures = dict(zip(source.names, output_names(source.names, ".png"), strict=True))
    lines, told = [csv_line(COLUMNS)], []
    rows = []
    device = torch_device(args)
    for located in localised(source, fingerprint, failed, args.window, device):
        picture = heat_map(located, fingerprint.source, args.threshold)
        write_atomic(output / "heatmaps" / pictures[located.name], picture)
        lines.append(window_lines(located))
        told.append(image_json(located, args.threshold))
        row, column, value = located.lowest()
        rows.append((located.name, located.correlation, value, f"{row}, {column}"))
    found = {
        "software": f"artfp {artfp.__version__}",
        "fingerprint": {
            "source": fingerprint.source,
            "extractor": fingerprint.extractor.text,
            "size": list(fingerprint.size),
        },
        "window": located.window,
        "threshold": args.threshold,
        "images": told,
    }
    write_atomic(output / "windows.csv", "".join(lines))
    write_atomic(output / "localise.json", json.dumps(found, indent=1) + "\n")
    columns = ["image", "correlation", "lowest window", "at row, column"]
    console().print(rich_table(rows, columns, floats=".4f", boxed=True))
    console().print(
        f"{count_images(len(told))}; wrote heatmaps, windows.csv, localise.json "
        f"into {args.output_dir}",
        soft_wrap=True,
        markup=False,
    )
    return report_unusable(failed)
