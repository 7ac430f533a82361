"""Commands: settings in, exit code out; groups of commands, loaded when they are called.

Exit codes: 0 done, 2 bad input (one line on stderr), 130 interrupted, 143 terminated, 1 anything
else.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from artfp.core.errors import UserError, one_line
from artfp.core.settings import Settings

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
        return run(lambda: self._main(list(argv), prog), prog)

    def _main(self, argv: list[str], prog: str) -> int:
        from artfp.core.parser import help_text, parse

        if "-h" in argv or "--help" in argv:
            print(help_text(self.settings, prog, self.description, self.epilog), end="")
            return 0
        parsed: list[Any] = []
        settings = parse(self.settings, argv, prog, parsed.append)
        from artfp.core.console import prepare_terminal
        from artfp.core.run_log import run_log

        prepare_terminal(parsed[0].quiet, parsed[0].verbose)
        folder = getattr(settings, "output_dir", None)
        with run_log(None if folder is None else Path(folder), settings.command_line(prog)):
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


def run(call: Callable[[], int], prog: str = "artfp") -> int:
    """Return the exit code of a call that does a command's work.

    A UserError is one line `prog: error: ...` on stderr and 2; an interrupt is one line and 130,
    also where a library turned it into an exit; SIGTERM during a training is one line and 143; a
    reader that went away (`| head`) is silent and 1. A SystemExit with a number, such as the
    parser's, returns it. Other exceptions pass.
    """
    try:
        code = call()
        sys.stdout.flush()
        return code
    except UserError as error:
        return _print_error(f"{prog}: error: {error}", 2)
    except KeyboardInterrupt:
        return _print_error(f"{prog}: interrupted", 130)
    except BrokenPipeError:
        # Python flushes stdout once more at its end: give it a place to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            return _print_error(f"{prog}: interrupted", 130)
        if isinstance(stop.code, int):
            return stop.code
        if stop.code is None:  # how Lightning leaves a loop after a SIGTERM
            return _print_error(f"{prog}: terminated", 143)
        raise


def _print_error(line: str, code: int) -> int:
    """Print one line on stderr and return the exit code."""
    print(line, file=sys.stderr)
    return code


def count_images(images: int) -> str:
    """Return a number of images in words: `1 image`, `2 images`."""
    return f"{images} image{'' if images == 1 else 's'}"


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
