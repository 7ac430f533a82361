"""Settings as typed dataclasses: the one declaration behind options, YAML files and the library.

A command's settings are a frozen dataclass whose bases are groups of settings that commands share.
Each field has its type, its range (`Annotated` with `Bounds`), its choices (`Literal`) and, in the
class docstring under `Args:`, its help. `artfp.core.parser` makes options of it, a library function
takes the same object, and both check the same ranges. Fields are declared by hand to jsonargparse,
not by `add_class_arguments`, since the published options are flat, have aliases and stand in titled
groups. Nothing here imports torch.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from artfp.core.errors import UserError
from artfp.core.options import SECRET, check_value, coerce_value, options

_IMAGES = ("data_dir", "data_dir_b", "marked_dir", "labelled_dir")
"""Fields that name folders of images."""


Self = TypeVar("Self", bound="Settings")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings: checks ranges and choices, and writes itself as YAML or as a command.

    A subclass that checks more extends `__post_init__` and calls this one first. Errors name the
    field as `--flag`, which program and command line share.
    """

    title: ClassVar[str] = "options"

    writes_pictures: ClassVar[bool] = True
    """True if pictures or figures come into `output_dir`, which may not lie among those read."""

    def __post_init__(self) -> None:
        for found in options(type(self)):
            value = coerce_value(found, getattr(self, found.name))
            object.__setattr__(self, found.name, value)
            check_value(found, value)
        if self.writes_pictures:
            _check_outside(self)

    def check_inputs(self) -> None:
        """Refuse what is to be read and is not there; a command calls it before its heavy imports.

        A subclass adds its own, also what stands in the output folder already.

        Raises:
            UserError: no such images.
        """
        for found in options(type(self)):
            is_place = found.metavar == "IMAGES" or found.name in _IMAGES
            given = getattr(self, found.name) if is_place else None
            for place in (given,) if isinstance(given, str | Path) else given or ():
                if not os.path.exists(place):
                    raise UserError(f"{place}: no such file or folder")

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons.

        A command tells its user about those that were given. A subclass adds its own.
        """
        return {}

    @classmethod
    def from_mapping(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """Make settings from values by key, as a YAML file has them; other keys are passed over."""
        known = {found.key: found.name for found in options(cls) if not found.hidden}
        return cls(**{known[key]: value for key, value in values.items() if key in known})

    def to_mapping(self) -> dict[str, Any]:
        """Return all values by key, in types that YAML and JSON know."""
        return {
            found.key: _plain(getattr(self, found.name))
            for found in options(type(self))
            if not found.hidden
        }

    def to_yaml(self) -> str:
        """Return the settings as YAML, which `--config` reads again. Secrets are left out."""
        import yaml

        secrets = {found.key for found in options(type(self)) if found.secret}
        values = {key: value for key, value in self.to_mapping().items() if key not in secrets}
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return text

    def command_line(self, prog: str, names_only: bool = False) -> str:
        """Return a command line that gives these settings.

        Args:
            prog: Words of the program, such as `artfp train`.
            names_only: True to shorten paths to their last component, for text that travels
                further than the machine.

        Returns:
            One line, quoted for a shell, of the options that are not at their defaults. Secrets
            stand as `SECRET`.
        """
        words = prog.split()
        for found in options(type(self)):
            value = getattr(self, found.name)
            if found.hidden or value is None or value == found.default:
                continue
            if found.is_switch:
                words.append(found.flag)
                continue
            values = value if isinstance(value, tuple) else (value,)
            if names_only:
                values = tuple(_last_component(each) for each in values)
            texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
            if found.separator:
                texts = [found.separator.join(texts)]
            words += [found.flag, *([SECRET] if found.secret else texts)]
        return shlex.join(words)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _last_component(value: Any) -> Any:
    """The last component of a path, or of a text that names one that exists; else the value."""
    try:
        if isinstance(value, Path) or (
            isinstance(value, str) and os.sep in value and Path(value).exists()
        ):
            return Path(value).resolve().name
    except (OSError, ValueError):  # no path at all
        pass
    return value


def _check_outside(settings: Settings) -> None:
    """Refuse an output folder in a folder of images: the next run would read what this one writes.

    Raises:
        UserError: it lies in one, or is one.
    """
    output = getattr(settings, "output_dir", None)
    if output is None:
        return
    for name in _IMAGES:
        given = getattr(settings, name, None) or ()
        for folder in (given,) if isinstance(given, str | Path) else given:
            if lies_inside(output, folder):
                raise UserError(
                    f"--output_dir {output} lies in the folder of the images, --{name} {folder}; "
                    "the next run would read its pictures; choose an output folder outside"
                )


def lies_inside(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Return True if a path is a folder that is there, or lies below it, links followed."""
    root = os.path.realpath(folder)
    return os.path.isdir(root) and Path(os.path.realpath(path)).is_relative_to(root)
