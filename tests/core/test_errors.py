from __future__ import annotations

import pickle

from artfp.core.errors import UserError
from artfp.data.image_files import ImageError


def test_messages_are_one_printable_line() -> None:
    for kind in (UserError, ImageError):
        error = kind("a\nb\r\x1b[31m caf\u00e9 \udcff")
        assert str(error) == "a\\nb\\r\\x1b[31m caf\u00e9 \\udcff"
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and str(again) == str(error)
        assert isinstance(error, ValueError)
