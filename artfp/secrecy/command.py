"""`artfp secrecy`: can one tell fingerprinted images without the key?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.console import console, prepare_terminal
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Train detectors (steganalysers) on N clean and N fingerprinted images and tell how well they find
fingerprinted images among others: the AUC, 0.5 for chance. The fewer images a good detector takes,
the less secret it is that a data set is fingerprinted. (That nobody can read or forge the bits is
another matter.)

What the attacker has:
  same_fingerprint    a part of the owner's data set, which carries one fingerprint, and clean
                      images; neither encoder nor key
  other_fingerprints  images that carry a random fingerprint each, as those to be found do
  other_encoder       (with --other_encoder) architecture and recipe: he trains an encoder of his
                      own, and learns from images that he fingerprinted himself

Attackers:
  network        a small residual network in the spirit of SRNet
  mean_residual  correlates high-pass residuals with their mean difference
  lda            Fisher's linear discriminant on DCT coefficients
  spectrum       the same on the coefficients' log energies

No original is used twice. Images for a class of training, one fifth of which is for validation,
those for the other, and those for the tests: 2 * (largest of --sizes) + 2 * --test_images."""

EPILOG = """\
examples:
  artfp secrecy --data_dir cifar10/ --encoder_path cifar32 --output_dir secrecy
  artfp secrecy --data_dir cifar10/ --output_dir secrecy --psnr 36 \\
      --encoder_path ours=cifar32,published=pub/encoder.safetensors \\
      --other_encoder ours=mine/encoder.safetensors

writes into --output_dir: secrecy.csv, secrecy.json, secrecy.png. A run that was stopped goes on
where it stopped when the same command is given again; so does one with other sizes or attackers.

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def _parser() -> Any:
    parser = make_parser("artfp secrecy", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--data_dir", required=True, help="Clean images: folder, zip or list.")
    add("--output_dir", required=True, help="Folder for the results.")
    add(
        "--encoder_path",
        default="photo128",
        metavar="[LABEL=]PATH,...",
        help="Encoders to attack: shipped names or files, separated by commas.",
    )
    add(
        "--other_encoder",
        type=str | None,
        default=None,
        metavar="[LABEL=]PATH,...",
        help="The attacker's own encoder: of the encoder with that label, or of all.",
    )
    add("--sizes", default="100,300,1000,3000", metavar="N,...",
        help="Training images of each class.")  # fmt: skip
    add("--attackers", type=str | None, default=None, metavar="NAME,...",
        help="Which of those above; default: all.")  # fmt: skip
    add("--test_images", type=int, default=1000, help="Test images of each class.")
    add(
        "--psnr",
        type=float | None,
        default=None,
        help="Scale the residuals of every encoder to this mean PSNR in dB; default: as they are.",
    )
    add("--image_resolution", type=int | None, default=None,
        help="Side of the images; default: the first encoder's.")  # fmt: skip
    add("--seed", type=int, default=0, help="Of the split, the fingerprints and the weights.")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    sizes = _check(args)

    from artfp.data.resume import Journal, Manifest
    from artfp.data.sources import open_source
    from artfp.secrecy.study import ATTACKERS, Cell, Row, attack, cells, gather

    attackers = list(ATTACKERS) if args.attackers is None else _listed(args.attackers)
    for name in attackers:
        if name not in ATTACKERS:
            raise UserError(f"--attackers: found {name!r}; choose from {', '.join(ATTACKERS)}")
    suspects, hashes = _suspects(args)
    side = args.image_resolution or suspects[0].encoder.resolution
    settings = {
        "data": Path(args.data_dir).name,
        "encoders": hashes,
        "image_resolution": side,
        "test_images": args.test_images,
        "psnr": args.psnr,
        "seed": args.seed,
    }
    source, output = open_source(args.data_dir), Path(args.output_dir)
    material, failed = gather(source, side, max(sizes), args.test_images, args.seed)
    Manifest.claim(output, settings, "secrecy")
    journal = Journal(output, "secrecy")
    done = journal.records()
    rows = []
    for suspect in suspects:
        wanted = cells(suspect, sizes, attackers)
        todo = [cell for cell in wanted if cell.name() not in done]
        for row in attack(suspect, todo, material, args.seed, args.psnr):
            record = {"name": row.cell.name(), "row": asdict(row)}
            journal.append(record)
            done[row.cell.name()] = record
        found = [done[cell.name()]["row"] for cell in wanted]
        rows += [Row(**{**row, "cell": Cell(**row["cell"])}) for row in found]
    journal.close()

    from artfp.reporting.figure import write_files
    from artfp.secrecy.report import plot_secrecy, secrecy_csv, secrecy_json, secrecy_table

    files = write_files(
        output,
        {
            "secrecy.csv": secrecy_csv(rows),
            "secrecy.json": json.dumps(secrecy_json(rows, settings), indent=1) + "\n",
            "secrecy.png": plot_secrecy(rows),
        },
    )
    console().print(secrecy_table(rows))
    print(f"wrote {', '.join(files)} into {output}")
    return report_unusable(failed)


def _check(args: Any) -> list[int]:
    """The sizes; refuses numbers out of range."""
    from artfp.secrecy.study import LEAST

    sizes: dict[int, None] = {}
    for part in args.sizes.split(","):
        if not part.strip().isdecimal() or int(part) < LEAST:
            raise UserError(f"--sizes: found {part!r}, expected numbers from {LEAST} on")
        sizes[int(part)] = None
    if args.test_images < LEAST:
        raise UserError(f"--test_images: found {args.test_images}, expected {LEAST} or more")
    if args.psnr is not None and not 10.0 <= args.psnr <= 60.0:
        raise UserError(f"--psnr: found {args.psnr}, expected decibels from 10 to 60")
    if args.seed < 0:
        raise UserError(f"--seed: found {args.seed}, expected 0 or more")
    if args.image_resolution is not None and args.image_resolution < 16:
        raise UserError(f"--image_resolution: found {args.image_resolution}, expected 16 or more")
    return list(sizes)


def _suspects(args: Any) -> tuple[list[Any], dict[str, str]]:
    """The encoders to attack, each with the attacker's own; the hashes of all weights by name."""
    from artfp.data.bundle import find_weights
    from artfp.data.files import file_hash
    from artfp.secrecy.study import Suspect
    from artfp.watermark import load_encoder

    paths = _labelled(args.encoder_path, "encoder_path")
    others = _others(args.other_encoder or "", list(paths))
    hashes, suspects = {}, []
    for label, path in paths.items():
        encoder, other = load_encoder(path)[0], None
        hashes[label] = file_hash(find_weights(path, "encoder"))
        if label in others:
            other = load_encoder(others[label])[0]
            theirs = hashes[f"{label}, other"] = file_hash(find_weights(others[label], "encoder"))
            if theirs == hashes[label]:
                raise UserError(f"--other_encoder: {others[label]} holds the weights of {path}")
        suspects.append(Suspect(label, encoder, other))
    return suspects, hashes


def _others(text: str, labels: list[str]) -> dict[str, str]:
    """Paths of the attacker's own encoders by label; one without a label goes with all."""
    if "=" not in text:
        paths = _listed(text)
        if len(paths) > 1:
            raise UserError("--other_encoder: found several without labels; give LABEL=PATH,...")
        return {label: path for label in labels for path in paths}
    found = _labelled(text, "other_encoder")
    for label in found:
        if label not in labels:
            known = ", ".join(labels)
            raise UserError(f"--other_encoder: no encoder is called {label!r}; found {known}")
    return found


def _labelled(text: str, option: str) -> dict[str, str]:
    """Paths by label; a path without one is called by its own text."""
    found: dict[str, str] = {}
    for part in _listed(text):
        label, equals, path = part.partition("=")
        label, path = (label.strip(), path.strip()) if equals else (part, part)
        if not label or not path or label in found:
            raise UserError(f"--{option}: found {part!r}, expected LABEL=PATH, each label once")
        found[label] = path
    if not found and option == "encoder_path":
        raise UserError(f"--{option}: found no name")
    return found


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
