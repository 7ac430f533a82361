"""Options and endings that embedding and detection share."""

from __future__ import annotations

from typing import Any, TypeVar

from artfp.core.device_options import add_lightning_options
from artfp.core.errors import UserError

Act = TypeVar("Act")


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


def check_bits(asked: int | None, bits: int, weights: str) -> None:
    """Refuse a --fingerprint_size that is not that of the weights."""
    if asked is not None and asked != bits:
        raise UserError(f"--fingerprint_size is {asked}, but {weights} works with {bits} bits")
