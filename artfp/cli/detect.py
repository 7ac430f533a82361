"""`artfp detect` and `detect_fingerprints.py`: decode images, compare with a fingerprint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.cli.base import console, make_parser
from artfp.cli.common import (
    add_run_options,
    add_source_options,
    check_bits,
    counted,
    prepare,
    report_failed,
    trainer_options,
)
from artfp.errors import one_line

DESCRIPTION = """\
Decode the fingerprint of every image, and say how well it matches one that you name.

Images of any size are brought to the decoder's resolution. Writes detected_fingerprints.txt (a line
"name bits" each) and .csv; with --fingerprint or --key also matches, bit accuracy and the one-sided
binomial p-value: the probability that as many bits or more match a secret random fingerprint that
has nothing to do with the image."""

EPILOG = """\
examples:
  detect_fingerprints.py --data_dir suspects/ --output_dir out --key owner.key.json
  detect_fingerprints.py --decoder_path cifar32 --data_dir fake.png --output_dir out \\
      --fingerprint 9f3a0c4477d1e2b8

exit codes: 0 it ran, 1 some images could not be used (each is named), 2 bad input,
130 interrupted. In a YAML file for --config write a fingerprint of digits in quotes."""


def _parser() -> Any:
    parser = make_parser("detect_fingerprints.py", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add(
        "--decoder_path",
        default="photo128",
        help="Decoder: shipped weights by name (photo128, cifar32), a .safetensors file, or a .pth "
        "published by the ArtFP authors.",
    )
    add(
        "--realign",
        type=bool,
        default=True,
        help="Find and undo mirroring, crops and turns before reading; false reads images as they "
        "lie. Images without a fingerprint take longer with it.",
    )
    add_source_options(parser, "Images to examine")
    add_run_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare()
    from artfp.data import Geometry, open_source

    source = open_source(args.data_dir)
    geometry = Geometry(args.image_resolution, args.use_celeba_preprocessing)

    from artfp.models import file_hash, load_decoder, locate
    from artfp.prediction.detect import Detection, detect
    from artfp.prediction.loop import make_trainer
    from artfp.prediction.words import given_word

    decoder, card = load_decoder(args.decoder_path, args.realign)
    check_bits(args.fingerprint_size, card["bits"], args.decoder_path)
    result = detect(
        Detection(
            source=source,
            output=Path(args.output_dir),
            decoder=decoder,
            decoder_hash=file_hash(locate(args.decoder_path, "decoder")),
            words=given_word(card["bits"], args.fingerprint, args.key),
            geometry=geometry,
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            trainer=make_trainer(sys.stderr.isatty(), **trainer_options(args)),
        )
    )
    if result is None:
        return 0
    print(f"{counted(result.decoded)} decoded, in {one_line(args.output_dir)}")
    if result.matches is not None and len(result.matches):
        console().print(_matches_table(result.matches, card["bits"]))
    return report_failed(result.failed)


def _matches_table(matches: Any, bits: int) -> Any:
    """Matches over all images: best, median, worst, with the p-value of an image that has them."""
    import numpy as np
    from rich.table import Table

    from artfp.evidence import format_p, log_p_value

    table = Table("image", "bits matched", "bit accuracy", "p-value")
    ordered = np.sort(matches)
    for label, count in (
        ("best", ordered[-1]),
        ("median", ordered[(len(ordered) - 1) // 2]),
        ("worst", ordered[0]),
    ):
        p = format_p(float(log_p_value(int(count), bits)))
        table.add_row(label, f"{count} of {bits}", f"{count / bits:.4f}", p)
    return table
