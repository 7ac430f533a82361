"""Sources of images: a folder, one file, a zip archive or a list of paths.

A source gives every image a relative name with forward slashes, unique and sorted; outputs are
called after these names, which therefore never lead out of the output folder. Names are `str` as
the operating system gives them (undecodable bytes as surrogates).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from artfp.core.errors import UserError
from artfp.data import decode
from artfp.data.archive import ZipSource
from artfp.data.decode import IMAGE_SUFFIXES, ImageError
from artfp.data.naming import (
    DATASET_JSON,
    is_hidden,
    is_image_name,
    match_labels,
    read_dataset_json,
    unique_name,
)

_LIST_SUFFIXES = frozenset({".txt", ".lst"})


@runtime_checkable
class ImageSource(Protocol):
    """Images that can be named and read by index, also from other processes (it pickles).

    Attributes:
        location: Path that the user gave.
        names: One relative name for each image, unique and sorted.
        dataset_json: Content of the top-level `dataset.json` of a StyleGAN data set.

    Example:
        >>> from skimage import data_dir
        >>> isinstance(open_source(f"{data_dir}/astronaut.png"), ImageSource)
        True
    """

    location: str
    names: list[str]
    dataset_json: dict[str, Any] | None

    def read(self, index: int) -> bytes:
        """Return the bytes of image `index`; raises ImageError with the reason."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...


class FileSource:
    """Images that are files of their own: of a folder, of a list, or a single one.

    Args:
        location: Path that the user gave.
        files: Path of each image by its name.
        dataset_json: Labels of a StyleGAN data set.

    Example:
        >>> FileSource("list", {"b.png": "/b.png", "a.png": "/a.png"}).names
        ['a.png', 'b.png']
    """

    def __init__(
        self, location: str, files: dict[str, str], dataset_json: dict[str, Any] | None = None
    ) -> None:
        self.location = location
        self.names = sorted(files)
        self.dataset_json = dataset_json
        self._paths = [files[name] for name in self.names]

    def read(self, index: int) -> bytes:
        """Return the bytes of image `index`.

        Raises:
            ImageError: missing, not a regular file, unreadable or over `MAX_BYTES`.
        """
        path = self._paths[index]
        try:
            mode = os.stat(path).st_mode  # before opening: a pipe would wait for ever
            if stat.S_ISDIR(mode):
                raise ImageError("a folder, not a file")
            if not stat.S_ISREG(mode):
                raise ImageError("not a regular file")
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > decode.MAX_BYTES:
                    raise ImageError(
                        f"the file has {size} bytes, more than the limit of {decode.MAX_BYTES}"
                    )
                return file.read(size)
        except (FileNotFoundError, NotADirectoryError):
            raise ImageError("no such file") from None
        except OSError as error:
            raise ImageError(f"cannot read the file: {error.strerror or error}") from None
        except ImageError:
            raise
        except ValueError as error:  # a NUL in the path
            raise ImageError(f"not a usable path: {error}") from None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)


def open_source(path: str | Path) -> ImageSource:
    """Open a folder (searched at any depth), an image file, a zip, or a list of paths.

    Hidden files and folders, `__MACOSX` and files without an image suffix are ignored. A list
    (`.txt`, `.lst`) has one path a line, relative to its own folder; blank lines and lines that
    begin with `#` are skipped.

    Args:
        path: Folder or file.

    Raises:
        UserError: nothing there, an unknown kind of file, a damaged archive, or no image in it.

    Example:
        >>> from skimage import data_dir
        >>> open_source(f"{data_dir}/astronaut.png").names
        ['astronaut.png']
    """
    location = os.fspath(path)
    suffix = os.path.splitext(location)[1].lower()
    source: ImageSource
    if not os.path.exists(location):
        raise UserError(f"{location}: no such file or folder")
    try:
        if os.path.isdir(location):
            files = _walk(location)
            labels = match_labels(_folder_labels(location), files)
            source = FileSource(location, files, labels)
        elif suffix in IMAGE_SUFFIXES:
            source = FileSource(location, {os.path.basename(location): location})
        elif suffix in _LIST_SUFFIXES:
            source = FileSource(location, _listed(location))
        elif suffix == ".zip":
            source = ZipSource(location)
        else:
            raise UserError(
                f"{location}: not a folder, an image ({' '.join(sorted(IMAGE_SUFFIXES))}), "
                "a .zip, or a .txt or .lst list of paths"
            )
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else location
        raise UserError(f"{where}: cannot be read: {error.strerror or error}") from None
    if len(source) == 0:
        raise UserError(
            f"{location}: no image found; looked for names that end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return source


def _folder_labels(folder: str) -> dict[str, Any] | None:
    path = os.path.join(folder, DATASET_JSON)
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return read_dataset_json(file, folder)


def _walk(root: str) -> dict[str, str]:
    """Map names to paths below `root`. Every real folder is listed once.

    Folders proper come first, then those behind links in the order of their names, so that a link
    into the tree or round in a circle adds nothing.
    """
    files: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    links: list[str] = [""]
    while links:
        links.sort(reverse=True)
        folders = [links.pop()]
        while folders:
            folder = folders.pop()
            path = os.path.join(root, folder) if folder else root
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir():
                        (links if entry.is_symlink() else folders).append(name)
                    elif is_image_name(entry.name):
                        files[name] = entry.path
    return files


def _listed(location: str) -> dict[str, str]:
    """Map names to the paths in a list file."""
    base = os.path.abspath(os.path.dirname(location))
    with open(location, "rb") as file:
        text = os.fsdecode(file.read().removeprefix(b"\xef\xbb\xbf"))
    paths: dict[str, str] = {}  # normalised, so that a path listed twice counts once
    for line in text.split("\n"):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            path = os.path.join(base, entry)
            paths.setdefault(os.path.normpath(path), path)
    below = os.path.join(base, "")
    outside = sorted(path for path in paths if not path.startswith(below))
    files = {
        path[len(below) :].replace(os.sep, "/"): paths[path]
        for path in paths
        if path.startswith(below)
    }
    taken = dict.fromkeys(files, 2)
    if outside:
        common = os.path.commonpath([os.path.dirname(path) for path in outside])
        for path in outside:
            name = os.path.relpath(path, common).replace(os.sep, "/")
            files[unique_name(name, taken)] = paths[path]
    return files


def open_sources(folder: Path) -> dict[str, ImageSource]:
    """Open the subfolders of a folder as sources of images, by name; hidden ones are ignored.

    Args:
        folder: Folder with a subfolder for each source.

    Raises:
        UserError: no such folder, fewer than two subfolders, or no image in one.

    Example:
        >>> import shutil, tempfile
        >>> from skimage import data_dir
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("camera", "dcgan"):
        ...     (folder / name).mkdir()
        ...     _ = shutil.copy(f"{data_dir}/astronaut.png", folder / name)
        >>> list(open_sources(folder))
        ['camera', 'dcgan']
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror or error}") from None
    if len(names) < 2:
        raise UserError(
            f"{folder}: found {len(names)} subfolders; expected one for each source, two or more"
        )
    return {name: open_source(folder / name) for name in names}
