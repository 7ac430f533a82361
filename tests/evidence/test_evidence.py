"""The package as a whole: its examples run, its names are there, its imports are light."""

import doctest
import subprocess
import sys

import pytest

import artfp.evidence
from artfp.evidence import health


@pytest.mark.parametrize("module", [artfp.evidence, health])
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_public_names_exist():
    assert artfp.evidence.__all__ == sorted(artfp.evidence.__all__)
    for name in artfp.evidence.__all__:
        assert getattr(artfp.evidence, name) is not None


def test_the_import_brings_neither_torch_nor_images():
    code = (
        "import sys, artfp.evidence; "
        "sys.exit(', '.join({'torch', 'PIL', 'scipy.stats', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
