"""`artfp gan alter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(
        prog,
        "Write altered copies of a trained generator, a file for each strength, to see whether a\n"
        "fingerprint outlives it. Touched are the matrices of linear layers and the kernels of\n"
        "convolutions; each file's card says what was done, and to which generator.",
    )
    add = parser.add_argument
    add("--generator", required=True, metavar="FILE", help="generator.safetensors of a training.")
    add("--output_dir", required=True, help="Folder for the altered generators.")
    for name, text in (
        ("noise", "Gaussian noise, in standard deviations of each layer's own weights."),
        ("bits", "Quantise each layer's weights evenly to so many bits, 2 to 16."),
        ("prune", "Set this share of each layer's weights to 0, the smallest."),
    ):
        add(f"--{name}", type=str | None, default=None, metavar="STRENGTH,...", help=text)
    add("--seed", type=int, default=0, help="Of the noise.")
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.generators.perturb_weights import ALTERATIONS, Alteration
    from artfp.generators.training_gan_alter import write_altered

    wanted = [
        Alteration(name, strength, args.seed)
        for name in ALTERATIONS
        for strength in _numbers(name, getattr(args, name))
    ]
    for path in write_altered(Path(args.generator), Path(args.output_dir), wanted):
        console().print(f"wrote {path}", soft_wrap=True)
    return 0


def _numbers(name: str, text: str | None) -> list[float]:
    try:
        return [float(part) for part in (text or "").split(",") if part.strip()]
    except ValueError as error:
        raise UserError(f"--{name} {text}: expected numbers separated by commas") from error
