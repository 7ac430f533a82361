"""The package as a whole: its examples run, its names are there, its imports are light."""

from __future__ import annotations

import doctest
import subprocess
import sys
from typing import Any

import pytest

import artfp.stats
from artfp.stats import decoder_health as health


@pytest.mark.parametrize("module", [artfp.stats, health])
def test_examples_in_docstrings_run(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_public_names_exist() -> None:
    names = dir(artfp.stats)
    assert names == sorted(names)
    for name in names:
        assert getattr(artfp.stats, name) is not None


def test_the_import_brings_neither_torch_nor_images() -> None:
    code = (
        "import sys, artfp.stats; "
        "sys.exit(', '.join({'torch', 'PIL', 'scipy.stats', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
