"""Memory that goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
@pytest.mark.parametrize("called", [True, False])
def test_memory_of_large_arrays_goes_back_to_the_system(called: bool) -> None:
    code = f"""
import numpy as np
from artfp.core.processes import return_large_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
if {called}:
    return_large_memory()
np.ones(20_000_000, np.uint8)  # freed at once: glibc now keeps arrays of this size
before = resident()
held = [(np.ones(19_000_000, np.uint8), np.ones(9_000, np.uint8)) for _ in range(20)]
small = [pin for _, pin in held]
del held
print((resident() - before) // 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept = int(done.stdout)
    assert kept < 60 if called else kept > 200  # MB, of 380
