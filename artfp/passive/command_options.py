"""Options that several of the actions around `artfp attribute` share, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.device_options import torch_device


def add_print_options(parser: Any) -> None:
    """Which source's fingerprint."""
    add = parser.add_argument
    add(
        "--fingerprint",
        required=True,
        metavar="FILE",
        help="The source's fingerprint, of artfp attribute study; or an attributor of fit.",
    )
    add(
        "--source",
        type=str | None,
        default=None,
        metavar="NAME",
        help="Which source of an attributor; images must then have its size.",
    )


def add_split_options(parser: Any) -> None:
    """How many images of each source fit, and how many test."""
    add = parser.add_argument
    add("--fit", type=int, default=512, help="Images of each source that fit.")
    add("--test", type=int, default=488, help="Others that test, at most.")


def add_network_options(parser: Any) -> None:
    """How networks are trained on the way."""
    add = parser.add_argument
    add("--network", type=str, default="compact", help="compact or published.")
    add("--max_steps", type=int | None, default=None,
        help="Steps of each network; default: 2000 of compact, 20000 of published.")  # fmt: skip
    add("--immunise_steps", type=int | None, default=None,
        help="Steps that immunise it; default: as --max_steps' default.")  # fmt: skip
    add("--precision", type=str, default="32-true", help="Of the trainings: 32-true, bf16-mixed.")
    add("--seed", type=int, default=0, help="Of the split, the trainings and the perturbations.")


NETWORK_OPTIONS = ("network", "max_steps", "immunise_steps", "precision", "seed")
"""What `add_network_options` adds."""


def kept_settings(args: Any, **more: Any) -> Any:
    """How attributors are made and where they are kept, of these options; `more` of Settings."""
    from artfp.passive.fitting.cache import ATTRIBUTORS, CacheSettings

    return CacheSettings(
        Path(args.output_dir) / ATTRIBUTORS,
        args.network,
        args.max_steps,
        args.immunise_steps,
        args.precision,
        args.seed,
        torch_device(args),
        **more,
    )
