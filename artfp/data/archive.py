"""Images in a zip archive, plain or in StyleGAN's form (``dataset.json`` at the top)."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections import Counter
from functools import partial
from typing import Any

from artfp.core.errors import UserError
from artfp.data import image_files
from artfp.data.image_files import HEAD_BYTES, ImageError
from artfp.data.naming import (
    DATASET_JSON,
    is_hidden,
    is_image,
    kind_of_file,
    match_labels,
    read_dataset_json,
    safe_name,
    unique_name,
)

_ENCRYPTED = 0x1
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OSError,
)


class ZipSource:
    r"""Images of a zip archive, at any depth.

    Names are made safe: backslashes count as slashes; a leading slash, drive letters, ``.`` and
    ``..`` are dropped (``..\..\C:\x.png`` is called ``x.png``). Where that meets another name
    the changed one gets a number (``x~2.png``). Of members with the same name the last counts.

    Each process opens the archive for itself when it first reads. `left_out` counts the files that
    are no images by their endings.

    Args:
        location: Path of the archive.

    Raises:
        UserError: the archive is damaged.

    Example:
        >>> import io, tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "images.zip"
        >>> with zipfile.ZipFile(path, "w") as archive:
        ...     archive.writestr("../a.png", b"...")
        >>> ZipSource(str(path)).names
        ['a.png']
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._archive: zipfile.ZipFile | None = None
        self._opened_by = -1
        try:
            with zipfile.ZipFile(location) as archive:
                members, self.left_out = _image_members(archive)
                self.dataset_json = match_labels(_labels(archive, location), members)
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
            raise UserError(
                f"{location}: not a readable zip archive ({error}); make or copy it again"
            ) from None
        self.names = sorted(members)
        self._members = [members[name] for name in self.names]

    def read(self, index: int) -> bytes:
        """Return the bytes of image `index`.

        Raises:
            ImageError: encrypted, damaged, of an unknown compression, or over `MAX_BYTES`.
        """
        try:
            archive = self._own_archive()
            member = archive.infolist()[self._members[index]]
            if member.flag_bits & _ENCRYPTED:
                raise ImageError("encrypted in the archive; unpack it with its password first")
            if member.file_size > image_files.MAX_BYTES:
                raise ImageError(
                    f"the file has {member.file_size} bytes, "
                    f"more than the limit of {image_files.MAX_BYTES}"
                )
            with archive.open(member) as file:
                # zipfile stops at the declared size, and a longer member fails its checksum.
                return file.read(member.file_size)
        except ImageError:
            raise
        except IndexError:
            raise ImageError("gone: the archive has changed since it was opened") from None
        except _READ_ERRORS as error:
            raise ImageError(f"damaged in the archive: {_reason(error)}") from None

    def stamp(self, index: int) -> list[int] | None:
        """Return size and checksum of a member, and size and times of the archive."""
        try:
            member = self._own_archive().infolist()[self._members[index]]
            status = os.stat(self.location)
        except (IndexError, *_READ_ERRORS):
            return None
        times = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        return [member.file_size, member.CRC, *times]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the open archive."""
        return {**self.__dict__, "_archive": None, "_opened_by": -1}

    def _own_archive(self) -> zipfile.ZipFile:
        # A handle from before a fork shares its file position with the parent: open another.
        if self._archive is None or self._opened_by != os.getpid():
            self._archive = zipfile.ZipFile(self.location)
            self._opened_by = os.getpid()
        return self._archive


def _reason(error: Exception) -> str:
    if isinstance(error, zipfile.BadZipFile) and "CRC" in str(error):
        return "its checksum does not match"
    return str(error) or type(error).__name__


def _image_members(archive: zipfile.ZipFile) -> tuple[dict[str, int], Counter[str]]:
    """Map safe, unique names to indices into the archive's directory; count the other files."""
    last = {
        member.filename: index
        for index, member in enumerate(archive.infolist())
        if not member.is_dir()
    }
    safe = {name: safe_name(name) for name in last}
    # Names that are fine as they are have the first claim to them.
    names = sorted(safe, key=lambda name: (name != safe[name], name))
    taken: dict[str, int] = {}
    images: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    for name in names:
        if any(map(is_hidden, safe[name].split("/"))) or safe[name] == DATASET_JSON:
            continue
        if is_image(safe[name], partial(_head, archive, archive.infolist()[last[name]])):
            images[unique_name(safe[name], taken)] = last[name]
        else:
            left_out[kind_of_file(safe[name])] += 1
    return images, left_out


def _head(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as file:
            return file.read(HEAD_BYTES)
    except _READ_ERRORS:
        return b""


def _labels(archive: zipfile.ZipFile, location: str) -> dict[str, Any] | None:
    name = next((name for name in archive.NameToInfo if safe_name(name) == DATASET_JSON), None)
    if name is None:
        return None
    try:
        with archive.open(name) as file:
            return read_dataset_json(file, location)
    except UserError:
        raise
    except _READ_ERRORS as error:
        raise UserError(
            f"{location}: {DATASET_JSON} cannot be read ({_reason(error)}); mend or remove it"
        ) from None
