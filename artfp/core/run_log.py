"""The log file of a run: what a command logged, with times, in the folder of its results."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artfp.core.errors import UserError
from artfp.core.processes import first_process

LOG_FILE = "artfp.log"
"""Name of the log file in the folder of the results; runs in the same folder are appended."""


class _FolderHandler(logging.Handler):
    """Write records into a folder from when it exists: a refused run makes no folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.DEBUG)
        self.folder = folder
        self.waiting: list[str] = []
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.waiting.append(self.format(record) + "\n")
        self.flush()

    def flush(self) -> None:
        if not self.waiting or not self.folder.is_dir():
            return
        try:
            with open(self.folder / LOG_FILE, "a", encoding="utf-8", errors="replace") as file:
                file.writelines(self.waiting)
        except OSError:
            pass  # the work itself says what is wrong with the folder
        self.waiting.clear()


@contextmanager
def run_log(folder: Path | None, command: str) -> Iterator[None]:
    """Append artfp's log to `LOG_FILE` in a folder while the body runs.

    Args:
        folder: Folder of the results; the file is made once the folder exists. None: no file.
        command: Command line to begin with, without secrets.
    """
    if folder is None or not first_process():
        yield
        return
    handler = _FolderHandler(folder)
    logger = logging.getLogger("artfp")
    logger.addHandler(handler)
    start = time.monotonic()
    outcome = "done"
    handler.waiting.append(handler.format(_record(command)) + "\n")
    try:
        yield
    except BaseException as error:
        outcome = f"ended by {type(error).__name__}: {error}"
        if isinstance(error, UserError) and not (folder / LOG_FILE).exists():
            handler.waiting.clear()  # refused before it began: the folder stays as it was
            outcome = ""
        raise
    finally:
        if outcome:
            handler.handle(_record(f"{outcome} after {time.monotonic() - start:.1f} s"))
        logger.removeHandler(handler)


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("artfp", logging.INFO, "", 0, "%s", (message,), None)
