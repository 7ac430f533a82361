"""Commands: settings in, exit code out; groups of commands, loaded when they are called.

Exit codes: 0 done, 2 bad input or a full disk, 70 a crash, 130 interrupted, 141 the reader of the
output went away, 143 terminated; 1 and 3 are the commands' own. Each but 0 and 141 comes with one
line on stderr.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from artfp.core.errors import UserError, one_line
from artfp.core.processes import Terminated, first_process, termination_raises
from artfp.core.settings import Settings

CRASHED, BROKEN_PIPE = 70, 141
"""Exit codes: EX_SOFTWARE of sysexits.h, and that of a shell for a death by SIGPIPE."""

_S = TypeVar("_S", bound=Settings)

_SHOWN = 20


@dataclass(frozen=True)
class Command(Generic[_S]):
    """A command: parse its settings, run it, return the exit code.

    Args:
        settings: Settings class; its fields are the options.
        action: Function that does the work of the command with these settings, prints the result
            and returns the exit code. Import what is heavy inside it.
        description: Text of the help above the options.
        epilog: Text of the help below the options: examples and exit codes.
    """

    settings: type[_S]
    action: Callable[[_S], int]
    description: str
    epilog: str = ""

    def main(self, argv: Sequence[str], prog: str) -> int:
        """Run the command with these words after `prog`, and return the exit code."""
        folders: list[Path] = []
        return run(lambda: self._main(list(argv), prog, folders), prog, folders)

    def _main(self, argv: list[str], prog: str, folders: list[Path]) -> int:
        from artfp.core.help import help_text
        from artfp.core.parser import expand_flags, parse, unused_options

        if "-h" in argv or "--help" in argv:
            print(help_text(self.settings, prog, self.description, self.epilog), end="")
            return 0
        parsed: list[Any] = []
        argv = expand_flags(self.settings, argv, prog)
        settings = parse(self.settings, argv, prog, parsed.append)
        from artfp.core.console import prepare_terminal
        from artfp.core.run_folder import run_folder
        from artfp.core.run_log import run_log

        prepare_terminal(parsed[0].quiet, parsed[0].verbose)
        settings.check_inputs()
        folder: Path | None = getattr(settings, "output_dir", None)
        if folder is not None:
            folders.append(folder)
        with run_folder(folder), run_log(folder, settings.command_line(prog)):
            for line in unused_options(settings, argv) if first_process() else ():
                logging.getLogger("artfp").warning("%s", line)
            return self.action(settings)


class Entry(NamedTuple):
    """A command of a group: where its `Command` or `CommandGroup` is, and its line in the help.

    `target` is `package.module:NAME`.
    """

    target: str
    summary: str


@dataclass(frozen=True)
class CommandGroup:
    """Commands by name; a command's module is imported when it is called.

    Args:
        description: What the group is for.
        entries: The commands, in the order of the help.
        epilog: Examples and exit codes.
        noun: What a member is called in the help and in errors.
    """

    description: str
    entries: Mapping[str, Entry]
    epilog: str = ""
    noun: str = "action"

    def main(self, argv: Sequence[str], prog: str) -> int:
        """Run the command that the first word names, and return the exit code."""
        name = argv[0] if argv else ""
        if name in ("-h", "--help"):
            print(self.help_text(prog))
            return 0
        if name not in self.entries:
            return _print_error(f"{prog}: error: {self._refusal(name)}", 2)
        return run(lambda: self.load(name).main(argv[1:], f"{prog} {name}"), f"{prog} {name}")

    def load(self, name: str) -> Command[Any] | CommandGroup:
        """Import and return a command of the group."""
        module, _, attribute = self.entries[name].target.partition(":")
        found: Command[Any] | CommandGroup = getattr(importlib.import_module(module), attribute)
        return found

    def help_text(self, prog: str) -> str:
        """Return the help: the commands, a line each."""
        width = max(map(len, self.entries))
        lines = [f"  {name:{width}}  {entry.summary}" for name, entry in self.entries.items()]
        parts = [
            f"usage: {prog} {self.noun.upper()} ...",
            self.description,
            "\n".join([f"{self.noun}s:", *lines]),
            self.epilog,
            f"{prog} {self.noun.upper()} --help prints the options of one.",
        ]
        return "\n\n".join(part for part in parts if part)

    def _refusal(self, name: str) -> str:
        known = ", ".join(self.entries)
        if not name:
            return f"no {self.noun}; choose from {known}"
        close = difflib.get_close_matches(name, self.entries, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"choose from {known}"
        return f"unknown {self.noun} '{one_line(name)}'; {hint}"


def run(call: Callable[[], int], prog: str = "artfp", folders: Sequence[Path] = ()) -> int:
    """Return the exit code of a call that does a command's work.

    Every end but a good one is one line on stderr, `prog: ...`: a UserError, or a file that the
    system refuses, is 2; an interrupt 130, also where a library turned it into an exit; SIGTERM
    143; any other exception 70, and the line names a file with its trace. A reader that went away
    (`| head`) is silent and 141. A SystemExit with a number, such as the parser's, returns it.

    Args:
        call: The work; it returns an exit code.
        prog: Name of the program in the line.
        folders: Folders for the trace; the first that exists is taken, else the temporary folder.
    """
    _escape_unencodable()
    try:
        with termination_raises():
            code = call()
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except UserError as error:
        return _print_error(f"{prog}: error: {error}", 2)
    except KeyboardInterrupt:
        return _print_error(f"{prog}: interrupted", 130)
    except Terminated:
        return _print_error(f"{prog}: terminated", 143)
    except BrokenPipeError:
        return BROKEN_PIPE
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            return _print_error(f"{prog}: interrupted", 130)
        if isinstance(stop.code, int):
            return stop.code
        if stop.code is None:  # how Lightning leaves a training after a SIGTERM
            return _print_error(f"{prog}: terminated", 143)
        return _print_error(f"{prog}: error: {one_line(str(stop.code))}", 2)
    except Exception as error:
        if reason := _system_refusal(error):
            return _print_error(f"{prog}: error: {one_line(reason)}", 2)
        what = one_line(" ".join(f"{type(error).__name__}: {error}".split()))[:_LONGEST]
        trace = _write_trace(error, prog, folders)
        return _print_error(f"{prog}: crashed: {what} ({trace})", CRASHED)
    finally:
        _settle_stdout()


_SHORTAGES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_REFUSALS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
_REFUSALS |= {errno.ENAMETOOLONG, errno.ESTALE, errno.EIO, errno.EMFILE, errno.ENOTEMPTY}
_LONGEST = 300


def _system_refusal(error: BaseException) -> str:
    """Return the refusal of the system that the user can mend, such as a full disk, or ""."""
    if not isinstance(error, OSError):
        return ""
    named = isinstance(error.filename, str | bytes | os.PathLike)
    reason = error.strerror or str(error)
    if error.errno in _SHORTAGES:
        where = f"{os.fsdecode(error.filename)}: " if named else ""
        return f"{where}{reason}; make room and give the command again"
    if error.errno in _REFUSALS and named:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return ""


def _write_trace(error: BaseException, prog: str, folders: Sequence[Path]) -> str:
    """Write the trace of a crash into a file that its owner alone reads; say where it is."""
    import tempfile
    import traceback

    text = f"{prog}\n{''.join(traceback.format_exception(error))}"
    for folder in [*(folder for folder in folders if folder.is_dir()), None]:
        try:
            number, path = tempfile.mkstemp(".txt", "artfp-crash-", folder)
            with open(number, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return f"trace in {one_line(path)}"
        except OSError:
            continue
    return "no room for a file with the trace"


def _escape_unencodable() -> None:
    """Have the console's encoding escape what it lacks: no name and no sign ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _settle_stdout() -> None:
    """Give stdout a place to write to if it has none: Python flushes it once more at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(line: str, code: int) -> int:
    """Print one line on stderr, in the first process alone, and return the exit code."""
    with contextlib.suppress(OSError, ValueError):
        if first_process() or code in (2, CRASHED):
            print(line, file=sys.stderr)
            sys.stderr.flush()
    return code


def count_images(images: int) -> str:
    """Return a number of images in words: `1 image`, `2 images`."""
    return f"{images} image{'' if images == 1 else 's'}"


def report_left_out(images: int) -> int:
    """Print how many images a training has left out on stderr; return the exit code, 1 if any.

    Args:
        images: Number of the images, which were named one by one.
    """
    if images:
        print(f"{count_images(images)} could not be used", file=sys.stderr)
    return 1 if images else 0


def report_unusable(failed: Sequence[tuple[str, str]]) -> int:
    """Print the images that could not be used on stderr; return the exit code, 1 if there are any.

    Args:
        failed: Name and reason of each.
    """
    for name, reason in failed[:_SHOWN]:
        print(f"unusable: {one_line(name)}: {one_line(reason)}", file=sys.stderr)
    if len(failed) > _SHOWN:
        print(f"... and {len(failed) - _SHOWN} more (see the table)", file=sys.stderr)
    if failed:
        print(f"{count_images(len(failed))} could not be used", file=sys.stderr)
    return 1 if failed else 0
