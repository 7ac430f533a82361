"""Terminal output of commands: tables, log lines, verbosity, and quiet libraries."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from artfp.core.errors import spreadsheet_text
from artfp.core.processes import die_with_parent, first_process

# The modules that chatter, since importing Lightning sets the levels of the loggers above them.
_QUIET_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.trainer.connectors.signal_connector",
    "lightning_fabric.utilities.distributed",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.seed",
)

# Matched from the start of the message.
_QUIET_WARNINGS = (
    r".*does not have many workers",
    r".*is smaller than the logging interval",
    r".*Checkpoint directory .* exists and is not empty",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*'pin_memory' argument is set as true but no accelerator",
    r".*GPU available but not used",
    r".*predict returned None",
    r".*`weights_only` was not set",
)

# Until a command prepares the terminal: a program that calls the library sees neither progress nor
# hints.
_quiet = True


def set_verbosity(quiet: bool = False, verbose: bool = False) -> None:
    """Set what commands print besides results: `quiet` warnings only, `verbose` details too."""
    global _quiet
    _quiet = quiet
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _TerminalHandler):
            handler.setLevel(level)
    logging.getLogger("artfp").setLevel(logging.DEBUG)  # the log file of a run has it all


def shows_progress() -> bool:
    """Return True if progress is to be shown: stderr is a terminal and nobody asked for quiet."""
    return sys.stderr.isatty() and not _quiet


def print_next_step(text: str) -> None:
    """Print what to do next, in one line on stderr, unless quiet was asked for."""
    if not _quiet and first_process():
        print(f"next: {text}", file=sys.stderr)


class _TerminalHandler(logging.StreamHandler[TextIO]):
    """Log lines on stderr as it is now, which tests and shells redirect."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def prepare_terminal(quiet: bool = False, verbose: bool = False) -> None:
    """Quiet the libraries and print artfp's log, one plain line each, on stderr.

    Processes that Lightning started beside the first leave Ctrl-C to it, and end with it.
    """
    launchers = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID")
    if not first_process() and not any(name in os.environ for name in launchers):
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_libraries()
    root = logging.getLogger()
    if not any(isinstance(handler, _TerminalHandler) for handler in root.handlers):
        root.addHandler(_TerminalHandler())
    set_verbosity(quiet, verbose)


def quiet_libraries() -> None:
    """Silence the libraries' messages that mean nothing to the user of a command.

    Lightning's loggers print warnings and worse only, and warnings that do not matter here are
    dropped. Call it before a Trainer is made; it imports neither torch nor Lightning.
    """
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in _QUIET_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)


def console(stderr: bool = False) -> Console:
    """Return a rich console; where its stream is no terminal, a plain one.

    A plain one prints a table as lines of cells with tabs between, for `cut`, `awk` and
    spreadsheets; it cuts no cell and breaks no line.
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    return (Console if terminal else _PlainConsole)(highlight=False, stderr=stderr)


class _PlainConsole(Console):
    """A console for pipes and files."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print tables with tabs, and all else in lines as long as they are."""
        for each in objects:
            if isinstance(each, Table):
                print(_with_tabs(each), file=self.file)  # rich makes spaces of tabs
            else:
                super().print(each, **(options | {"soft_wrap": True}))


def _with_tabs(table: Table) -> str:
    columns = [[column.header, *column.cells] for column in table.columns]
    lines = [
        [spreadsheet_text(" ".join(str(cell).split())) for cell in row]
        for row in zip(*columns, strict=True)
    ]
    title = [] if table.title is None else [str(table.title)]
    return "\n".join([*title, *map("\t".join, lines)])
