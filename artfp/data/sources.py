"""Sources of images: a folder, one file, a zip archive or a list of paths.

A source gives every image a relative name with forward slashes, unique and sorted; outputs are
called after these names, which therefore never lead out of the output folder. Names are `str` as
the operating system gives them (undecodable bytes as surrogates).
"""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from artfp.core.errors import UserError, one_line
from artfp.core.processes import first_process
from artfp.data import image_files
from artfp.data.archive import ZipSource
from artfp.data.image_files import HEAD_BYTES, IMAGE_SUFFIXES, ImageError
from artfp.data.naming import (
    DATASET_JSON,
    is_hidden,
    is_image,
    kind_of_file,
    match_labels,
    read_dataset_json,
    unique_name,
)

MAX_LIST_BYTES = 256 * 1024 * 1024
"""Size of a list of paths above which it is refused."""

_LIST_SUFFIXES = frozenset({".txt", ".lst"})
_LINKS = "links out of the folder (--follow_links reads them)"
_HIDDEN = "hidden images"
_DOCUMENTS = {".txt", ".lst", ".md", ".json", ".jsonl", ".csv", ".log", ".yaml", ".yml", ".html"}
_DOCUMENTS |= {".db", ".ini", ".py", ".sh", ".tsv", ".xml", ".safetensors", ".ckpt", ".pth", ".pt"}
_SUFFIXES = tuple(IMAGE_SUFFIXES)
_SHOWN_KINDS = 8

_log = logging.getLogger("artfp")


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
        left_out: Numbers of other files there, by kind.

    Example:
        >>> FileSource("list", {"b.png": "/b.png", "a.png": "/a.png"}).names
        ['a.png', 'b.png']
    """

    def __init__(
        self,
        location: str,
        files: Mapping[str, str],
        dataset_json: dict[str, Any] | None = None,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        self.location = location
        self.names = sorted(files)
        self.dataset_json = dataset_json
        self.left_out = dict(left_out or {})
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
                if size > image_files.MAX_BYTES:
                    raise ImageError(
                        f"the file has {size} bytes, more than the limit of {image_files.MAX_BYTES}"
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

    def stamp(self, index: int) -> list[int] | None:
        """Return size, time of modification and time of change of a file; None: there is none."""
        try:
            status = os.stat(self._paths[index])
        except (OSError, ValueError):
            return None
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)


def open_source(path: str | Path, follow_links: bool = True) -> ImageSource:
    """Open a folder (searched at any depth), an image file, a zip, or a list of paths.

    Images are known by their endings, other files by their content. Hidden files and folders and
    `__MACOSX` are ignored; what else is left out is counted by kind (`left_out`) and logged. A list
    (`.txt`, `.lst`) has one path a line, relative to its own folder; blank lines and lines that
    begin with `#` are skipped.

    Args:
        path: Folder or file.
        follow_links: Whether symbolic links that lead out of the folder are followed.

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
            files, left_out = _walk(location, follow_links)
            labels = match_labels(_folder_labels(location), files)
            source = FileSource(location, files, labels, left_out)
        elif suffix in IMAGE_SUFFIXES:
            source = FileSource(location, {os.path.basename(location): location})
        elif suffix in _LIST_SUFFIXES:
            source = FileSource(location, _listed(location))
        elif suffix == ".zip":
            source = ZipSource(location)
        elif os.path.isfile(location) and is_image(location, partial(_first_bytes, location)):
            source = FileSource(location, {os.path.basename(location): location})
        else:
            raise UserError(
                f"{location}: not a folder, an image ({' '.join(sorted(IMAGE_SUFFIXES))}), "
                "a .zip, or a .txt or .lst list of paths"
            )
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else location
        raise UserError(f"{where}: cannot be read: {error.strerror or error}") from None
    told = describe_left_out(source)
    if len(source) == 0:
        raise UserError(
            f"{location}: no image found; looked for names that end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}{told and '; ' + told}"
        )
    if told:
        _log_once(f"{location}: {told}", left_out_of(source).keys() <= _DOCUMENTS)
    return source


def describe_left_out(source: ImageSource) -> str:
    """Return how many files of a source are left out, by kind, in words; "" if none.

    Args:
        source: Folder or archive; others leave nothing out.

    Example:
        >>> describe_left_out(FileSource("in", {}, left_out={".gif": 2, ".heic": 1}))
        '3 files left out: 2 .gif, 1 .heic'
    """
    counts = Counter(left_out_of(source))
    if not counts:
        return ""
    shown = [f"{count} {kind}" for kind, count in counts.most_common(_SHOWN_KINDS)]
    rest = counts.total() - sum(count for _, count in counts.most_common(_SHOWN_KINDS))
    return one_line(
        f"{counts.total()} file{'s' * (counts.total() != 1)} left out: "
        + ", ".join([*shown, *([f"{rest} others"] if rest else [])])
    )


def left_out_of(source: ImageSource) -> dict[str, int]:
    """Return the numbers of files of a source that are left out, by kind."""
    return dict(getattr(source, "left_out", {}))


def count_unexamined(source: ImageSource) -> int:
    """Return how many files of a source are left out that are no documents: pictures, perhaps."""
    return sum(n for kind, n in left_out_of(source).items() if kind not in _DOCUMENTS)


@cache
def _log_once(text: str, documents: bool) -> None:
    """Log what is left out, once even where a source is opened again."""
    if first_process():
        _log.log(logging.INFO if documents else logging.WARNING, "%s", text)


def _first_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


def _folder_labels(folder: str) -> dict[str, Any] | None:
    path = os.path.join(folder, DATASET_JSON)
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return read_dataset_json(file, folder)


def _walk(root: str, follow_links: bool) -> tuple[dict[str, str], Counter[str]]:
    """Map names to paths below `root`, and count the other files. Every real folder is listed once.

    Folders proper come first, then those behind links in the order of their names, so that a link
    into the tree or round in a circle adds nothing.
    """
    files: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    links: list[str] = [""]
    real = os.path.join(os.path.realpath(root), "")
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
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if name == DATASET_JSON:
                        continue
                    if is_hidden(entry.name):
                        if entry.name.lower().endswith(_SUFFIXES) and entry.name[:2] != "._":
                            left_out[_HIDDEN] += 1
                        continue
                    if (
                        not follow_links
                        and entry.is_symlink()
                        and not os.path.join(os.path.realpath(entry.path), "").startswith(real)
                    ):
                        left_out[_LINKS] += 1
                    elif entry.is_dir():
                        (links if entry.is_symlink() else folders).append(name)
                    elif is_image(entry.name, partial(_head, entry)):
                        files[name] = entry.path
                    else:
                        left_out[kind_of_file(entry.name)] += 1
    return files, left_out


def _head(entry: os.DirEntry[str]) -> bytes:
    try:
        if not entry.is_file():  # a pipe would wait for ever
            return b""
        with open(entry.path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _listed(location: str) -> dict[str, str]:
    """Map names to the paths in a list file."""
    base = os.path.abspath(os.path.dirname(location))
    with open(location, "rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise UserError(f"{location}: a list of more than {MAX_LIST_BYTES >> 20} MiB; split it")
    text = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))
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
