"""What a comparison reads before its study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artfp.comparison.study import read_fingerprints


def test_fingerprints_that_others_can_read_are_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "fingerprints.json"
    path.write_text(json.dumps({"a": "10011111", "b": None}))
    path.chmod(0o600)
    assert set(read_fingerprints(path, 8)) == {"a", "b"} and not caplog.records
    path.chmod(0o644)
    read_fingerprints(path, 8)
    assert f"chmod 600 {path}" in caplog.text
