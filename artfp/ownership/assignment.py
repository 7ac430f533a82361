"""Fingerprints of the images of a data set."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.data.paths import warn_if_shared
from artfp.ownership.key import Key, owner_context, parse_fingerprint, shown_path, to_text

KEY_FILE = "fingerprint.key.json"
"""Name of the key file that a run writes into its output folder when it draws a key."""

_MOST_BYTES = 4096


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of a run: one for all images, or one for each image, from a key.

    Args:
        bits: Length of each fingerprint.
        fingerprint: The fingerprint (bits,) of all images, or None.
        key: Key that gives the fingerprints where `fingerprint` is None.
        per_image: True for a fingerprint of its own for each image.
        context: Context of the key, by `owner_context`.

    Example:
        >>> fingerprints = Fingerprints(64, key=Key.from_seed(0), per_image=True)
        >>> bool((fingerprints.of_image("a.png") == fingerprints.of_image("b.png")).all())
        False
    """

    bits: int
    fingerprint: NDArray[np.uint8] | None = None
    key: Key | None = None
    per_image: bool = False
    context: bytes = b""

    def of_image(self, name: str) -> NDArray[np.uint8]:
        """Return the fingerprint (bits,) of the image of this name."""
        if self.fingerprint is not None:
            return self.fingerprint
        assert self.key is not None
        image = b"image:" + name.encode("utf-8", "surrogateescape") if self.per_image else b""
        return self.key.fingerprint(self.bits, context=self.context + image)

    def identity(self) -> str:
        """Return a text, not secret, that two runs share only if they embed the same."""
        if self.per_image and self.key is not None:
            return f"{self.key.tag()}:each{self.context.hex()}"
        return sha256(to_text(self.of_image("")).encode()).hexdigest()


def given_fingerprints(
    bits: int,
    fingerprint: str | None,
    key_file: str | Path | None,
    owner: str | None = None,
    subject: str | None = None,
) -> Fingerprints | None:
    """Return the one fingerprint that a user named by its bits or by a key file.

    Args:
        bits: Length of the fingerprint.
        fingerprint: The fingerprint as text; see `parse_fingerprint`.
        key_file: File of a key, instead.
        owner: Owner, with `key_file` and `subject`; see `Key.fingerprint`.
        subject: Model or data set.

    Returns:
        The fingerprint, the same for all images; None if neither bits nor key are given.

    Raises:
        UserError: both are given, names stand beside bits, or something is malformed.
    """
    if fingerprint is not None and key_file is not None:
        raise UserError(
            "--key and --fingerprint or --fingerprint_file both name the fingerprint; give one"
        )
    context = owner_context(owner, subject)
    if fingerprint is not None and context:
        raise UserError(
            "--owner and --subject say what to derive from a key; leave them out with "
            "--fingerprint and --fingerprint_file"
        )
    if fingerprint is not None:
        return Fingerprints(bits, parse_fingerprint(fingerprint, bits))
    if key_file is not None:
        return Fingerprints(bits, Key.load(key_file).fingerprint(bits, context=context))
    return None


def read_fingerprint_file(path: str) -> str:
    """Return the text of a file that holds a fingerprint; "-" is standard input.

    A warning is logged where others than the owner can read the file.

    Raises:
        UserError: it cannot be read, or is longer than a fingerprint can be. The message does not
            repeat what it holds.
    """
    what = f"fingerprint file {shown_path(path)}"
    try:
        if path == "-":
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(_MOST_BYTES + 1)
            warn_if_shared(path, "fingerprint file")
    except (OSError, ValueError) as error:  # a NUL in the name
        raise UserError(f"{what}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > _MOST_BYTES or not content.isascii():
        raise UserError(f"{what}: expected only the fingerprint, as 0s and 1s or hexadecimal")
    return content.decode("ascii").strip()


def draw_fingerprints(
    bits: int, output: Path, per_image: bool, seed: int | None = None, context: bytes = b""
) -> Fingerprints:
    """Draw a fresh key, kept in `output` so that a stopped run can go on; return its fingerprints.

    The key comes from the operating system's generator unless a seed is given.
    """
    path = output / KEY_FILE
    if path.exists():
        key = Key.load(path)
        if seed is not None and key != Key.from_seed(seed):
            raise UserError(f"{path} holds another key than --seed {seed} gives; take a new folder")
        return Fingerprints(bits, key=key, per_image=per_image, context=context)
    if (output / "embed.run.json").exists():
        raise UserError(
            f"{output} holds a run with a fingerprint that was given; choose another output folder "
            "or delete this one"
        )
    key = Key.draw() if seed is None else Key.from_seed(seed)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made: {error.strerror}") from error
    key.save(path)
    return Fingerprints(bits, key=key, per_image=per_image, context=context)
