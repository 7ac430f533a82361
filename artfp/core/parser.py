"""From the words of a command to its settings.

jsonargparse parses (types, YAML files, environment variables). Every error is one line on stderr,
`prog: error: ...`, with exit code 2.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from artfp.core.bounded_yaml import MOST_YAML, YAML_MODE, set_yaml_loader
from artfp.core.errors import UserError, one_line
from artfp.core.help import ENVIRONMENT, positional_options
from artfp.core.options import SECRET, Option, options
from artfp.core.settings import Settings

_S = TypeVar("_S", bound=Settings)


def parse(
    settings: type[_S], argv: Sequence[str], prog: str, take: Callable[[Any], None] | None = None
) -> _S:
    """Parse a command's words into its settings.

    Args:
        settings: The settings class.
        argv: Words after the program's name.
        prog: Name of the program in errors.
        take: Called with the parsed namespace, for options that are no settings.

    Raises:
        SystemExit: with 2 after a line on stderr, with 0 after `--print_config`.
    """
    parser = _make_parser(settings, prog)
    namespace = parser.parse_args(_with_flags(settings, list(argv)))
    if take is not None:
        take(namespace)
    values = {o.name: namespace[o.key] for o in options(settings) if not o.hidden}
    try:
        return settings(**values)
    except UserError as error:
        message = str(error)
    parser.error(message)
    raise AssertionError("unreachable: error exits")


def expand_flags(settings: type[Settings], argv: Sequence[str], prog: str) -> list[str]:
    """Return a command's words with beginnings of option strings completed, as argparse does.

    Raises:
        SystemExit: with 2 after a line on stderr, where several options begin so.
    """
    owners = {flag: o.flag for o in options(settings) if not o.hidden for flag in o.flags}
    owners |= {flag: flag for flag in ("--config", "--print_config", "--quiet", "--verbose")}
    words = list(argv)
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if word == "--":
            break
        if not flag.startswith("--") or flag in owners:
            continue
        found = sorted({owner for known, owner in owners.items() if known.startswith(flag)})
        if len(found) == 1:
            words[number] = found[0] + equals + value
        elif found:
            _make_parser(settings, prog).error(f"{flag} could be {' or '.join(found)}")
    return words


def unused_options(settings: Settings, argv: Sequence[str]) -> list[str]:
    """Return a line for each option that was given and has no effect beside the others.

    Args:
        settings: The settings that came of the words.
        argv: The words, with option strings in full.
    """
    given = {word.partition("=")[0] for word in argv}
    reasons = settings.without_effect
    return [
        f"{found.flag} has no effect: {reasons[found.name]}"
        for found in options(type(settings))
        if found.name in reasons
        and (given.intersection(found.flags) or getattr(settings, found.name) != found.default)
    ]


def _with_flags(settings: type[Settings], argv: list[str]) -> list[str]:
    """Put the option string before values that were given without."""
    targets = positional_options(settings)
    if not targets:
        return argv
    known = {flag: o for o in options(settings) for flag in o.flags}
    words: list[str] = []
    loose: list[str] = []
    expected = 0.0  # values that the last option string still takes
    for number, word in enumerate(argv):
        if word == "--":
            loose += argv[number + 1 :]
            break
        if word.startswith("-") and word != "-":
            found = known.get(word.partition("=")[0])
            takes = word == "--config" or (found is not None and not found.is_switch)
            several = found is not None and found.nargs == "+"
            expected = 0 if "=" in word or not takes else float("inf") if several else 1
            words.append(word)
        elif expected:
            expected -= 1
            words.append(word)
        else:
            loose.append(word)
    # A flag takes its value from the words without one only if it was not given itself.
    given = {word.partition("=")[0] for word in words}
    for target in (target for target in targets if not given.intersection(target.flags)):
        if target.is_sequence and loose:
            return [*words, target.flag, *loose]
        if loose:
            words.append(f"{target.flag}={loose.pop(0)}")
    return [*words, *loose]


def _make_parser(settings: type[Settings], prog: str) -> Any:
    import jsonargparse

    class Parser(_ParserErrors, jsonargparse.ArgumentParser):
        """A parser whose errors are one line on stderr and exit code 2."""

    set_yaml_loader()
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        default_env=True,
        env_prefix=ENVIRONMENT,
        add_help=False,
        parser_mode=YAML_MODE,
    )
    parser.secrets = frozenset(o.key for o in options(settings) if o.secret)
    parser.add_argument("--config", action="config")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    for found in options(settings):
        if found.hidden:
            continue
        if found.is_switch:
            parser.add_argument(*found.flags, action="store_true")
            continue
        extra: dict[str, Any] = {"required": True} if found.required else {}
        if not found.required:
            default = found.default
            extra["default"] = str(default) if isinstance(default, Path) else default
        if found.is_sequence and found.separator:
            extra["type"] = _splitter(found)
        elif found.nargs:
            extra |= {"nargs": "+", "type": _element(found)}
        else:
            extra["type"] = _as_text(found)
        parser.add_argument(*found.flags, **extra)
    return parser


def _as_text(found: Option) -> Any:
    """The type of an option, with text for paths: jsonargparse refuses paths that are not UTF-8."""
    if Path not in found.alternatives:
        return found.type
    return str if found.type is Path else str | None


def _element(found: Option) -> Any:
    """The type of a tuple's elements."""
    if found.choices:
        return type(found.choices[0])  # the settings check the value
    (sequence,) = [m for m in found.alternatives if getattr(m, "__origin__", None) is tuple]
    return sequence.__args__[0]


def _splitter(found: Option) -> Callable[[Any], tuple[Any, ...]]:
    """A type that splits a text at the option's separator."""
    element = _element(found)

    def split(value: Any) -> tuple[Any, ...]:
        parts = value.split(found.separator) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            parts = [parts]
        stripped = [part.strip() if isinstance(part, str) else part for part in parts]
        return tuple(element(part) for part in stripped if part != "")

    split.__name__ = f"{element.__name__}{found.separator}..."
    return split


def _masked(words: Sequence[str]) -> str:
    """Return unknown words without values of options and without what may be a fingerprint."""
    shown: list[str] = []
    for word in words:
        if word.startswith("-"):
            shown.append(word.partition("=")[0])
        elif not (shown and shown[-1].startswith("-")):
            shown.append(SECRET if re.fullmatch("(0[xX])?[0-9a-fA-F]+", word) else word)
    return " ".join(shown)


class _ParserErrors:
    """Errors of a jsonargparse parser as one line in the user's words, without secrets."""

    prog: str
    secrets: frozenset[str] = frozenset()
    _actions: list[argparse.Action]
    _config_file = ""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print `prog: error: ...` on one line and exit with 2."""
        where = f"{self._config_file}: " if self._config_file else ""
        self.exit(2, f"{self.prog}: error: {where}{self._reword(message)}\n")  # type: ignore[attr-defined]
        raise SystemExit(2)

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Parse a configuration file; an error in it names the file."""
        self._config_file = str(cfg_path)
        try:
            if os.stat(str(cfg_path)).st_size > MOST_YAML:
                self.error(f"larger than {MOST_YAML >> 10} KiB; expected options in YAML")
            return super().parse_path(cfg_path, *args, **kwargs)  # type: ignore[misc]
        except UnicodeDecodeError:
            self.error("not a text file in UTF-8; expected YAML")
        except OSError as error:
            self.error(error.strerror or str(error))
        finally:
            self._config_file = ""

    def dump(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the options as YAML, but for secrets."""
        shown = cfg.clone()
        for key in self.secrets:
            shown.pop(key, None)
        return super().dump(shown, *args, **kwargs)  # type: ignore[misc]

    def _reword(self, message: str) -> str:
        """Turn a message of jsonargparse or argparse into one line in the user's words."""
        text = one_line(" ".join(message.split()))
        text = re.sub(r"<class 'NoneType'>", "null", text)
        text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
        text = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
        text = re.sub(
            r"Does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors: .*"
            r" Given value: (.*)",
            r"expected one of \1; found \2",
            text,
        )
        text = text.replace("expected one of one of ", "expected one of ")
        text = re.sub(r"Expected an? (.*?)\. Got value: ", r"expected \1; found ", text)
        text = re.sub(r"^argument (-[-\w/]+): ", r"\1: ", text)
        text = re.sub(r"^Option ('.*') is not accepted", r"\1 in --config is not an option", text)
        if key := re.match(r'Parser key "([\w.]+)": ', text):
            if key[1] in self.secrets:  # YAML takes bits for a number
                return f"{self._flag(key[1])}: expected text; put it in quotes"
            return f"{self._flag(key[1])}: {text[key.end() :]}"
        if missing := re.match("the following arguments are required: (.*)", text):
            return "missing " + ", ".join(map(self._flag, missing[1].split(", ")))
        if unknown := re.match("unrecognized arguments: (.*)", text):
            words = unknown[1].split()
            return f"unrecognized arguments: {_masked(words)}; {self._hint(words[0])}"
        if text.startswith("Unexpected config: "):
            return "expected options in YAML, such as 'seed: 1' on a line"
        if text.startswith("Problems parsing config: "):
            return re.sub(
                "'[^']{4,}'", f"'{SECRET}'", text.replace('in "<unicode string>", ', "in ")
            )
        return text

    def _flag(self, dest: str) -> str:
        """Name an argument as the user types it."""
        for action in self._actions:
            if action.dest == dest and action.option_strings:
                return action.option_strings[0]
        return dest

    def _hint(self, word: str) -> str:
        """Say where to look instead of an option that does not exist."""
        known = [option for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(word.split("=")[0], known, n=1)
        return f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
