"""The one exception that means: the person at the keyboard can mend this."""

from __future__ import annotations

__all__ = ["UserError", "one_line"]


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
