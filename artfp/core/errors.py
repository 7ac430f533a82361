"""The one exception that means: the person at the keyboard can mend this."""

from __future__ import annotations

import re

__all__ = ["UserError", "one_line", "spreadsheet_text"]


def one_line(text: str) -> str:
    r"""Return ``text`` with every character that could break the line or the terminal escaped.

    File names may hold newlines and terminal control sequences; they come out as ``\n``, ``\x1b``.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


class UserError(ValueError):
    """Input, a setting or a file that the user can mend.

    The message is one line: what was found, where, and what to do. The command line prints it on
    stderr and exits with 2.

    Args:
        message: Text of any form; control characters are escaped.

    Example:
        >>> str(UserError("photos: no images\\n"))
        'photos: no images\\\\n'
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


# What OWASP lists under "CSV injection", full-width forms too; apostrophes, so that one more can be
# taken away again.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?( ?%| dB)?|[+-](inf|nan)|-", re.IGNORECASE)


def spreadsheet_text(text: str) -> str:
    """Return the text of a cell with an apostrophe before what a spreadsheet would run.

    Args:
        text: Text; numbers stay as they are.

    Example:
        >>> spreadsheet_text("=1+1"), spreadsheet_text("-1.5"), spreadsheet_text("a=b")
        ("'=1+1", '-1.5', 'a=b')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
