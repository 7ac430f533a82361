"""Options and endings that embedding and detection share."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from artfp.core.command import choose, quiet_libraries
from artfp.core.device_options import add_lightning_options
from artfp.core.errors import UserError, one_line

Act = TypeVar("Act")

_SHOWN = 20


def add_source_options(parser: Any, what: str) -> None:
    """Where images come from, how they are cut, where results go, which fingerprint."""
    add = parser.add_argument
    add("--data_dir", required=True, help=f"{what}: a folder, zip, image, or list of paths (.txt).")
    add("--output_dir", required=True, help="Folder for the results.")
    add(
        "--image_resolution",
        type=int | None,
        default=None,
        help="Cut the centre square of each image and resize it to this side; "
        "default: images keep size and shape.",
    )
    add(
        "--use_celeba_preprocessing",
        action="store_true",
        help="Cut the middle 148 x 148 of aligned CelebA images and resize to 128, as published.",
    )
    add("--fingerprint_size", "--fingerprint_length", type=int | None, default=None,
        help="Bits of the fingerprint; only checked against the weights.")  # fmt: skip
    add_fingerprint_options(parser)


def add_fingerprint_options(parser: Any, when: str = "") -> None:
    """Which fingerprint; `when`, a phrase, says when these options may be given."""
    add = parser.add_argument
    add(
        "--fingerprint",
        type=str | None,
        default=None,
        metavar="BITS|HEX",
        help=f"{when}The fingerprint, as 0s and 1s or hexadecimal.",
    )
    add("--key", type=str | None, default=None, metavar="FILE",
        help=f"{when}Key file to derive it from.")  # fmt: skip
    add(
        "--owner",
        type=str | None,
        default=None,
        metavar="NAME",
        help="With --subject: derive what artfp keygen and artfp registry derive from the key for "
        "these names. Without the two: from the key alone, which is their --bare.",
    )
    add("--subject", type=str | None, default=None, metavar="NAME",
        help="The model or data set, as it is registered.")  # fmt: skip


def add_decoder_option(parser: Any) -> None:
    """What reads the images."""
    parser.add_argument(
        "--decoder_path",
        default="photo128",
        help="Decoder: a shipped name (photo128, cifar32, transfer32), a .safetensors file, or "
        "a .pth published by the ArtFP authors.",
    )


def add_run_options(parser: Any) -> None:
    """How the work is done."""
    add = parser.add_argument
    add("--batch_size", type=int, default=32, help="Images that the network sees at once.")
    add("--num_workers", type=int | None, default=None, help="Loader processes; default: the CPUs.")
    add_lightning_options(parser)


def prepare() -> None:
    """Quiet the libraries and let artfp speak, one plain line each, on stderr.

    Processes that Lightning started beside the first leave Ctrl-C to it: it ends them.
    """
    if not first_process() and "TORCHELASTIC_RUN_ID" not in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_libraries()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("artfp").setLevel(logging.INFO)


def parsed_action(
    prog: str,
    actions: Mapping[str, tuple[Callable[[str], Any], Act]],
    argv: Sequence[str] | None,
    text: str,
) -> tuple[Act, Any, Any, list[str]] | None:
    """What acts, its arguments, its parser, and all words, of a command with actions.

    `actions` have what makes the parser and what acts; `argv` is by default the process's. None:
    the words ask for help, which is `text` and was printed. Raises UserError: no such action.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    action = choose(actions, words, text)
    if action is None:
        return None
    describe, act = action
    parser = describe(f"{prog} {words[0]}")
    args = parser.parse_args(words[1:])
    prepare()
    return act, args, parser, words


def first_process() -> bool:
    """Whether this process is not one that a launcher started beside the first."""
    ranks = ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def await_first(file: Path, seconds: float = 120.0) -> None:
    """In all processes but the first: wait until the first has written this file."""
    end = time.monotonic() + seconds
    while not first_process() and not (file.exists() and file.stat().st_size):
        if time.monotonic() > end:
            raise UserError(f"process 0 has not written {file} within {seconds:.0f} s")
        time.sleep(0.1)


def check_bits(asked: int | None, bits: int, weights: str) -> None:
    """Refuse a --fingerprint_size that is not that of the weights."""
    if asked is not None and asked != bits:
        raise UserError(f"--fingerprint_size is {asked}, but {weights} works with {bits} bits")


def counted(images: int) -> str:
    """Number of images, in words."""
    return f"{images} image{'' if images == 1 else 's'}"


def report_failed(failed: list[tuple[str, str]]) -> int:
    """Name the images that could not be used, on stderr; the exit code: 0 if none, else 1."""
    for name, reason in failed[:_SHOWN]:
        print(f"unusable: {one_line(name)}: {one_line(reason)}", file=sys.stderr)
    if len(failed) > _SHOWN:
        print(f"... and {len(failed) - _SHOWN} more (see the table)", file=sys.stderr)
    if failed:
        print(f"{counted(len(failed))} could not be used", file=sys.stderr)
    return 1 if failed else 0
