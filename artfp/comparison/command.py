"""`artfp compare`: proactive against passive attribution, in one table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.console import console, prepare_terminal
from artfp.core.device_options import add_device_option
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.passive.command_options import (
    NETWORK_OPTIONS,
    add_network_options,
    add_split_options,
    kept_settings,
)

DESCRIPTION = """\
Choose the source of the same images by fingerprints and by traces, under the same perturbations.

FOLDER has one subfolder of images for each source: what generators made that were trained on
fingerprinted images, each with a fingerprint of its own; and perhaps one source without, such as
real images. Some images of each source fit the passive contestants, the others test all.

contestants:
  proactive  decodes the fingerprint; it needs no image of any source (always takes part)
  plain      correlation with mean noise residuals (Marra et al. 2019)
  best       matched filter, spectra or both, whichever is best on held out images
  learned    a network (after Yu et al. 2019)
  immunised  the same network, tuned on perturbed images
  nearest    the nearest image by its pixels
  eigenface  Eigenfaces

writes into --output_dir:
  compare.md               the closing table, and the accuracy under each perturbation
  compare.csv, .json       all figures
  accuracy.png, tpr.png    a panel for each perturbation, a line for each contestant
  attributors/             the fitted contestants, for artfp attribute predict

A comparison that was stopped goes on where it stopped when the same command is given again."""

EPILOG = """\
the file of --fingerprints, JSON; a fingerprint is bits, hexadecimal, or a key's file; null: none:
  {"dcgan": "9f3c...", "glow": "glow.key.json", "real": null}

examples:
  artfp compare made/ --fingerprints made.json --decoder_path transfer32 --output_dir compare
  artfp compare made/ --fingerprints made.json --contestants plain,best --output_dir quick \\
      --perturbations jpeg --strengths jpeg=95,75

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""

PERTURBATIONS = "jpeg,blur,noise,random_crop,relight,combination"
STRENGTHS = (
    "jpeg=95,75,40;blur=0.8,1.7;noise=0.02,0.08;random_crop=0.05,0.2;relight=0.5,1;combination=1"
)


def _parser() -> Any:
    parser = make_parser("artfp compare", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--fingerprints", required=True, metavar="FILE",
        help="JSON file with the fingerprint of each source.")  # fmt: skip
    add("--decoder_path", type=str, default="transfer32",
        help="Decoder: shipped weights by name, or a file; with :plain at its end it does not look "
        "for crops and turns.")  # fmt: skip
    add("--output_dir", required=True, help="Folder for the results.")
    add("--contestants", type=str, default="plain,best,learned,immunised,nearest,eigenface",
        metavar="NAME,...", help="Passive ones.")  # fmt: skip
    add("--perturbations", type=str, default=PERTURBATIONS, metavar="NAME,...",
        help="Which, see artfp robustness.")  # fmt: skip
    add("--strengths", type=str, default=STRENGTHS, metavar="NAME=S,...;...",
        help="Their strengths; the defaults lie within the published ranges.")  # fmt: skip
    add_split_options(parser)
    add_network_options(parser)
    add_device_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    names = [part.strip() for part in args.contestants.split(",") if part.strip()]

    from artfp.comparison import report
    from artfp.comparison.study import compare
    from artfp.data.bundle import find_weights
    from artfp.data.files import file_hash
    from artfp.data.sources import (
        open_sources,
    )
    from artfp.data.tables import Column, rich_table
    from artfp.passive.fitting.leakage import warn_of_leakage
    from artfp.perturbations.conditions import choose, parse_strengths
    from artfp.robustness.methods import PLAIN
    from artfp.watermark import load_decoder

    groups = [part.strip() for part in args.perturbations.split(",") if part.strip()]
    strengths = parse_strengths(args.strengths)
    conditions = choose(groups, {name: strengths[name] for name in groups if name in strengths})
    sources, output = open_sources(Path(args.folder)), Path(args.output_dir)
    path = args.decoder_path.removesuffix(PLAIN)
    decoder, _ = load_decoder(path, realign=path == args.decoder_path)
    words = _fingerprints(Path(args.fingerprints), decoder.bits)
    settings = kept_settings(args)
    told = {
        "decoder": file_hash(find_weights(path, "decoder")),
        "realign": path == args.decoder_path,
        **{name: getattr(args, name) for name in NETWORK_OPTIONS},
    }
    warn_of_leakage(sources)
    found = compare(
        sources,
        words,
        decoder,
        conditions,
        output,
        ways=names,
        fit=args.fit,
        test=args.test,
        settings=settings,
        decides={
            "decoder": told["decoder"],
            "realign": told["realign"],
            "secret_fingerprints": {
                name: None if word is None else word.tolist() for name, word in words.items()
            },
        },
        say=lambda text: print(text, file=sys.stderr),
    )
    files = report.write_comparison(found, conditions, told, output)
    columns = [
        Column(head, align="left" if head == report.CLOSING[0] else "right")
        for head in report.CLOSING[:-1]
    ]
    console().print(rich_table([row[:-1] for row in report.closing_rows(found)], columns))
    print(f"wrote {', '.join(files)} into {one_line(str(output))}")
    return report_unusable(found.failed)


def _fingerprints(path: Path, bits: int) -> dict[str, Any]:
    """Words by source. Raises UserError: a file that does not hold them."""
    from artfp.ownership.key import Key, parse_fingerprint

    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(texts, dict):
        raise UserError(f'{path}: expected {{"SOURCE": "FINGERPRINT", ...}}')
    words: dict[str, Any] = {}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise UserError(f"{path}: {name}: expected bits, hexadecimal, a key's file or null")
        if text is None:
            words[name] = None
        elif text.endswith(".json"):
            words[name] = Key.load(path.parent / text).fingerprint(bits)
        else:
            try:
                words[name] = parse_fingerprint(text, bits)
            except (UserError, ValueError) as error:
                raise UserError(f"{path}: {name}: {error}") from None
    return words
