"""Options of commands: fields of settings classes with their ranges, choices and help.

Example:
    >>> from dataclasses import dataclass
    >>> from artfp.core.settings import Settings
    >>> @dataclass(frozen=True, kw_only=True)
    ... class BlurSettings(Settings):
    ...     '''Blur.
    ...
    ...     Args:
    ...         sigma: Standard deviation in pixels.
    ...     '''
    ...     sigma: PositiveFloat = 1.0
    >>> BlurSettings(sigma=2.0).command_line("artfp blur")
    'artfp blur --sigma 2.0'
    >>> BlurSettings(sigma=0.0)
    Traceback (most recent call last):
    artfp.core.errors.UserError: --sigma is 0.0; it must be above 0
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from artfp.core.errors import UserError

SECRET = "..."
"""Text that stands for a secret value where a command line is shown or kept."""


@dataclass(frozen=True)
class Bounds:
    """Range of a number: at least `ge`, above `gt`, at most `le`, below `lt`."""

    ge: float = -math.inf
    gt: float = -math.inf
    le: float = math.inf
    lt: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.gt < value < self.lt and self.ge <= value <= self.le

    def __str__(self) -> str:
        parts = []
        for bound, words in ((self.ge, "{} or more"), (self.gt, "above {}")):
            if bound != -math.inf:
                parts.append(words.format(bound))
        for bound, words in ((self.le, "at most {}"), (self.lt, "below {}")):
            if bound != math.inf:
                parts.append(words.format(bound))
        return " and ".join(parts) or "a finite number"


PositiveInt = Annotated[int, Bounds(ge=1)]


NonNegativeInt = Annotated[int, Bounds(ge=0)]


PositiveFloat = Annotated[float, Bounds(gt=0)]


NonNegativeFloat = Annotated[float, Bounds(ge=0)]


Fraction = Annotated[float, Bounds(ge=0, le=1)]


Probability = Annotated[float, Bounds(gt=0, lt=1)]


def option(
    default: Any = dataclasses.MISSING,
    *,
    flags: tuple[str, ...] = (),
    metavar: str = "",
    positional: bool = False,
    separator: str = "",
    secret: bool = False,
    group: str = "",
    hidden: bool = False,
) -> Any:
    """Declare a field of a settings class, with what the command line needs beyond its type.

    Args:
        default: Default value; without it the field is required.
        flags: Option strings, if not just `--name` of the field; the first names the option.
        metavar: Placeholder of the value in the help, by default after the type.
        positional: True if the value may also be given without an option string. Several such
            fields take the values in the order of the fields.
        separator: Character between the elements of a `tuple` on the command line; by default they
            are words of their own.
        secret: True if the value is to be left out of command lines that are shown or kept.
        group: Title of the group in the help, by default the `title` of the class.
        hidden: True for a field that only programs set: it has no option.

    Returns:
        A dataclass field.
    """
    metadata = {
        "flags": flags,
        "metavar": metavar,
        "positional": positional,
        "separator": separator,
        "secret": secret,
        "group": group,
        "hidden": hidden,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """A field of a settings class as the command line knows it.

    `type` is the field's without `Annotated`; `bounds` are those of its number, if any.
    """

    name: str
    type: Any
    bounds: Bounds | None
    default: Any
    help: str
    flags: tuple[str, ...]
    metavar: str
    positional: bool
    separator: str
    secret: bool
    group: str
    hidden: bool

    @property
    def flag(self) -> str:
        """The option string that names the option in messages, such as `--lr`."""
        return self.flags[0]

    @property
    def key(self) -> str:
        """The option's name in YAML files and in environment variables."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def required(self) -> bool:
        """True if there is no default."""
        return self.default is dataclasses.MISSING

    @property
    def alternatives(self) -> tuple[Any, ...]:
        """The types of a union, or the type alone, without None."""
        union = typing.get_origin(self.type) in (typing.Union, types.UnionType)
        members = typing.get_args(self.type) if union else (self.type,)
        return tuple(member for member in members if member is not type(None))

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a `Literal`, alone or as the elements of a tuple, else none."""
        members = [
            typing.get_args(member)[0] if typing.get_origin(member) is tuple else member
            for member in self.alternatives
        ]
        found = [member for member in members if typing.get_origin(member) is Literal]
        return tuple(value for member in found for value in typing.get_args(member))

    @property
    def is_switch(self) -> bool:
        """True for an option without a value: a bool that is False by default."""
        return self.type is bool and self.default is False

    @property
    def is_sequence(self) -> bool:
        """True for a tuple of values."""
        return any(typing.get_origin(member) is tuple for member in self.alternatives)

    @property
    def nargs(self) -> str | None:
        """argparse's `nargs`."""
        return "+" if self.is_sequence and not self.separator else None


def options(settings: type[Any]) -> tuple[Option, ...]:
    """Return the options of a settings class, those of the class itself first.

    Raises:
        TypeError: a field has no help in the docstring of the class that declares it.
    """
    found: tuple[Option, ...] = _options(cast(Any, settings))
    return found


@cache
def _options(settings: Any) -> tuple[Option, ...]:
    hints = typing.get_type_hints(settings, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    found = []
    for owner in settings.__mro__:
        for name in inspect.get_annotations(owner):
            if name in fields:
                found.append(_option_of(fields.pop(name), hints[name], settings, owner))
    return tuple(found)


def _option_of(
    field: dataclasses.Field[Any], hint: Any, settings: type[Any], owner: type
) -> Option:
    extra = dict(field.metadata) if "flags" in field.metadata else dict(option().metadata)
    texts = [_helps(base)[field.name] for base in settings.__mro__ if field.name in _helps(base)]
    if not texts and not extra["hidden"]:
        raise TypeError(f"{settings.__name__}.{field.name} has no help in its docstring")
    bounds, plain = _without_bounds(hint)
    # A field that a subclass declares again, for another default, stays in its first group.
    first = [base for base in settings.__mro__ if field.name in inspect.get_annotations(base)]
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Option(
        name=field.name,
        type=plain,
        bounds=bounds,
        default=default,
        help=texts[0] if texts else "",
        flags=extra["flags"] or (f"--{field.name}",),
        metavar=extra["metavar"],
        positional=extra["positional"],
        separator=extra["separator"],
        secret=extra["secret"],
        group=extra["group"] or getattr(first[-1], "title", ""),
        hidden=extra["hidden"],
    )


@cache
def _helps(cls: type) -> dict[str, str]:
    """The texts under `Args:` of a class's own docstring, by field, each on one line."""
    from docstring_parser import DocstringStyle, parse

    if cls.__doc__ is None or not dataclasses.is_dataclass(cls) or "__doc__" not in cls.__dict__:
        return {}
    found = parse(cls.__doc__, style=DocstringStyle.GOOGLE)
    return {p.arg_name: " ".join((p.description or "").split()) for p in found.params}


def _without_bounds(hint: Any) -> tuple[Bounds | None, Any]:
    """The range in a type, and the type without it."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        plain, *extras = typing.get_args(hint)
        found = [extra for extra in extras if isinstance(extra, Bounds)]
        return (found[0] if found else None), plain
    if origin in (typing.Union, types.UnionType):
        parts = [_without_bounds(member) for member in typing.get_args(hint)]
        bounds = next((bounds for bounds, _ in parts if bounds is not None), None)
        return bounds, typing.Union[tuple(plain for _, plain in parts)]  # noqa: UP007
    if origin is tuple:
        parts = [_without_bounds(m) if m is not ... else (None, m) for m in typing.get_args(hint)]
        bounds = next((bounds for bounds, _ in parts if bounds is not None), None)
        return bounds, tuple[tuple(plain for _, plain in parts)]  # type: ignore[misc]
    return None, hint


def coerce_value(found: Option, value: Any) -> Any:
    """A value in the field's type where another is as good: text for a path, a list for a tuple."""
    if isinstance(value, list) and found.is_sequence:
        return tuple(value)
    if isinstance(value, str) and Path in found.alternatives and str not in found.alternatives:
        return Path(value)
    if isinstance(value, int) and not isinstance(value, bool) and found.alternatives == (float,):
        return float(value)
    return value


def check_value(found: Option, value: Any) -> None:
    """Raise a UserError if the value is none of the choices or out of the range."""
    if value is None:
        return
    for element in value if isinstance(value, tuple) else (value,):
        if found.choices and element not in found.choices:
            known = ", ".join(map(str, found.choices))
            raise UserError(f"{found.flag} is {element!r}; choose from {known}")
    for number in value if isinstance(value, tuple) else (value,):
        if found.bounds is None or not isinstance(number, int | float):
            continue
        if not math.isfinite(number) or number not in found.bounds:
            raise UserError(f"{found.flag} is {number}; it must be {found.bounds}")


def options_by_group(settings: type[Any]) -> Iterator[tuple[str, list[Option]]]:
    """Yield the titles of the groups with their options, in the order of the help."""
    groups: dict[str, list[Option]] = {}
    for found in options(settings):
        if not found.hidden:
            groups.setdefault(found.group, []).append(found)
    for title, members in groups.items():
        yield title, sorted(members, key=lambda member: not member.required)
