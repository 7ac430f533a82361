"""Which fingerprint each image of a data set gets."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.ownership.key import Key, context_of, parse, to_text

KEY_FILE = "fingerprint.key.json"
"""Name of the key file that a run writes into its output folder when it draws a key."""


@dataclass(frozen=True)
class Words:
    """The fingerprints of a run: one word for all images, or one for each, from a key.

    Args: `bits`; `word`, (bits,), for all; else `key`, in the `context` of `named_context`, with
    `per_image` for one word an image.
    """

    bits: int
    word: NDArray[np.uint8] | None = None
    key: Key | None = None
    per_image: bool = False
    context: bytes = b""

    def of(self, name: str) -> NDArray[np.uint8]:
        """The fingerprint (bits,) of the image of this name."""
        if self.word is not None:
            return self.word
        assert self.key is not None
        image = b"image:" + name.encode("utf-8", "surrogateescape") if self.per_image else b""
        return self.key.fingerprint(self.bits, self.context + image)

    def secret(self) -> str:
        """What two runs must share to embed the same fingerprints."""
        if self.per_image and self.key is not None:
            return f"{self.key.tag()}:each{self.context.hex()}"
        return sha256(to_text(self.of("")).encode()).hexdigest()


def named_context(owner: str | None, subject: str | None) -> bytes:
    """In which context a key is asked: that of owner and subject, or none.

    With the names a key gives the fingerprint of `artfp keygen --commit` and `artfp registry add`,
    without them that of their --bare.

    Raises UserError on one without the other, and on what `fingerprint.context_of` refuses.
    """
    if owner is None and subject is None:
        return b""
    if owner is None or subject is None:
        raise UserError("--owner and --subject name the fingerprint together; give both or neither")
    return context_of(owner, subject)


def given_word(
    bits: int,
    fingerprint: str | None,
    key_file: str | None,
    owner: str | None = None,
    subject: str | None = None,
) -> Words | None:
    """The one word that a user named by its bits or by a key file; None if by neither.

    A key gives another word for each owner and subject, see `named_context`; bits have neither.

    Raises UserError on both, on names beside bits, and on what `fingerprint.parse`, `Key.load` and
    `named_context` refuse.
    """
    if fingerprint is not None and key_file is not None:
        raise UserError("--fingerprint and --key both name the fingerprint; give one")
    context = named_context(owner, subject)
    if fingerprint is not None and context:
        raise UserError(
            "--owner and --subject say what to derive from a key; leave them out with --fingerprint"
        )
    if fingerprint is not None:
        return Words(bits, word=parse(fingerprint, bits))
    if key_file is not None:
        return Words(bits, word=Key.load(key_file).fingerprint(bits, context))
    return None


def drawn_words(
    bits: int, output: Path, per_image: bool, seed: int | None = None, context: bytes = b""
) -> Words:
    """Words from a fresh key, which is kept in `output` so that a stopped run can go on.

    The key comes from the operating system's generator unless a seed is given.
    """
    path = output / KEY_FILE
    if path.exists():
        key = Key.load(path)
        if seed is not None and key != Key.from_seed(seed):
            raise UserError(f"{path} holds another key than --seed {seed} gives; take a new folder")
        return Words(bits, key=key, per_image=per_image, context=context)
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
    return Words(bits, key=key, per_image=per_image, context=context)
