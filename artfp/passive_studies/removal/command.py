"""`artfp attribute remove`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.legacy import make_parser
from artfp.passive.command_options import add_print_options

DESCRIPTION = """\
Subtract the estimated fingerprint of a source from its images and tell what it costs. This exists
to measure robustness: how little of a change takes an attribution by residuals away, so that nobody
relies on it where somebody may have tried.

The result is 8-bit images. Fingerprints are often under half a grey level: rounded to the nearest
level, an image would be what it was before. So it is rounded at random, right on average."""

EPILOG = """\
examples:
  artfp attribute study sources/ --output_dir study/      # estimates the fingerprints
  artfp attribute remove images/ --fingerprint study/fingerprints/dcgan.safetensors \\
      --output_dir attacked/ --strength 1

writes into --output_dir: images/, PNG; removal.csv and removal.json, PSNR and correlations before
and after; removal.png, histograms of these.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("images", type=str, help="Image, folder, zip or list of images of the fingerprint's size.")
    add_print_options(parser)
    add("--output_dir", required=True, help="Folder for attacked images and tables.")
    add("--strength", type=float, default=1.0, help="How many times the fingerprint is subtracted.")
    add("--mode", type=str, default="mean",
        help="mean: the fingerprint itself; projection: as much of it as each residual "
        "holds.")  # fmt: skip
    add("--rounding", type=str, default="random", help="To 8-bit pixels: random or nearest.")
    add("--seed", type=int, default=0, help="Of the random rounding.")
    add_device_option(parser)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    import artfp
    from artfp.data.files import write_atomic
    from artfp.data.naming import output_names
    from artfp.data.reading import Failed
    from artfp.data.sources import open_source
    from artfp.data.tables import csv_line
    from artfp.data.writing import encode_image
    from artfp.passive.attributors.mean_residual import read_mean_residual
    from artfp.passive_studies.removal.removal import Attack, attacked
    from artfp.passive_studies.removal.report import (
        COLUMNS,
        attacked_json,
        attacked_line,
        plot_attacked,
    )

    attack = Attack(args.strength, args.mode, args.rounding, args.seed)
    source, fingerprint = (
        open_source(args.images),
        read_mean_residual(args.fingerprint, args.source),
    )
    output, failed = Path(args.output_dir), Failed()
    names = dict(zip(source.names, output_names(source.names, ".png"), strict=True))
    lines, found = [csv_line(COLUMNS)], []
    for each in attacked(source, fingerprint, attack, failed, torch_device(args)):
        write_atomic(output / "images" / names[each.name], encode_image(each.pixels))
        lines.append(attacked_line(each))
        found.append((each.psnr, each.before, each.after))
    told = attacked_json(found)
    whole = {
        "software": f"artfp {artfp.__version__}",
        "fingerprint": {
            "source": fingerprint.source,
            "extractor": fingerprint.extractor.text,
            "size": list(fingerprint.size),
        },
        "attack": asdict(attack),
        **told,
    }
    write_atomic(output / "removal.csv", "".join(lines))
    write_atomic(output / "removal.json", json.dumps(whole, indent=1) + "\n")
    write_atomic(output / "removal.png", plot_attacked(found, fingerprint.source))
    console().print(
        f"{count_images(len(found))}: PSNR {told['psnr']:.2f} dB, correlation with "
        f"{fingerprint.source} "
        f"{told['correlation_before']:.4f} before and {told['correlation_after']:.4f} after\n"
        f"wrote images, removal.csv, removal.json, removal.png into {args.output_dir}",
        soft_wrap=True,
        markup=False,
    )
    return report_unusable(failed)
