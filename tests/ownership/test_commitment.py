"""Commitments: against a hash written by hand; what changes, does not hold; nothing secret out."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.commitment import (
    Commitment,
    Opening,
    check_time,
    commit,
    commitment_text,
    holds,
    opening_path,
    save_both,
)
from artfp.ownership.key import Key, to_hex, to_text

DECODER = "ab" * 32


@pytest.fixture
def word() -> Any:
    return np.random.default_rng(5).integers(0, 2, 100).astype(np.uint8)


def test_hash_is_hmac_of_all_fields(word: Any) -> None:
    made, opening = commit(word, "Ada", "cats — v1", DECODER)
    packed = int(to_text(word) + "0000", 2).to_bytes(13, "big")
    texts = ["HMAC-SHA256/1", "Ada", "cats — v1", "100", DECODER, made.time]
    fields = [b"artfp/commitment/v1", *map(str.encode, texts), b"\x00\x64", packed]
    message = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    assert made.hash == hmac.new(opening.salt, message, hashlib.sha256).hexdigest()
    assert opening.commitment == made.hash
    assert len(opening.salt) == 32
    assert holds(made, opening, word)


def test_whatever_changes_it_does_not_hold(word: Any) -> None:
    made, opening = commit(word, "Ada", "cats")
    for i in range(100):
        other = word.copy()
        other[i] ^= 1
        assert not holds(made, opening, other)
    assert not holds(made, opening, word[:99])
    assert not holds(made, opening, np.append(word, 0))
    for changed in (
        {"owner": "Ad"},
        {"owner": "Adac", "subject": "ats"},
        {"subject": "dogs"},
        {"bits": 99},
        {"decoder": DECODER},
        {"time": "2001-01-01T00:00:00+00:00"},
        {"hash": "0" * 64},
        {"scheme": ""},
    ):
        assert not holds(replace(made, **changed), opening, word)
    for position in range(32):
        salt = bytearray(opening.salt)
        salt[position] ^= 1
        assert not holds(made, replace(opening, salt=bytes(salt)), word)


def test_salts_are_fresh(word: Any) -> None:
    made = [commit(word, "Ada", "cats") for _ in range(50)]
    assert len({opening.salt for _, opening in made}) == 50
    assert len({each.hash for each, _ in made}) == 50


def test_files(word: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made, opening = commit(word, "Ada", "cats", bare=True)
    before = os.umask(0o022)
    try:
        public, secret = save_both(made, opening, tmp_path / "cats.v1")
    finally:
        os.umask(before)
    assert public == tmp_path / "cats.v1.commitment.json"
    assert secret == opening_path(public) == tmp_path / "cats.v1.opening.json"
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert Commitment.load(public) == made
    assert Opening.load(secret) == opening
    text = commitment_text(made)
    assert text is not None
    assert Commitment.from_json(json.loads(text), "x") == made
    assert caplog.records == []
    secret.chmod(0o644)
    assert Opening.load(secret) == opening
    assert f"chmod 600 {secret}" in caplog.records[0].getMessage()
    text = public.read_text()
    assert opening.salt.hex() not in text
    assert to_hex(word) not in text and to_text(word) not in text
    assert opening.salt.hex() not in repr(opening)
    assert repr(opening.salt) not in repr(opening)
    with pytest.raises(UserError, match="exists already"):
        save_both(made, opening, tmp_path / "cats.v1")


def test_one_of_two_files_is_never_left_alone(
    word: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, opening = commit(word, "Ada", "cats")
    (tmp_path / "a.opening.json").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        save_both(made, opening, tmp_path / "a")
    (tmp_path / "b.commitment.json").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        save_both(made, opening, tmp_path / "b")

    def full(*_: Any) -> None:
        raise UserError("full")

    monkeypatch.setattr(Commitment, "save", full)
    with pytest.raises(UserError, match="full"):
        save_both(made, opening, tmp_path / "c")
    assert {path.name for path in tmp_path.iterdir()} == {"a.opening.json", "b.commitment.json"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hash": None}, "hash is not"),
        ({"hash": "A" * 64}, "hash is not"),
        ({"hash": "0" * 63 + "\n"}, "hash is not"),
        ({"bits": "100"}, "bits is not"),
        ({"bits": True}, "bits is not"),
        ({"bits": 513}, "found 513 bits"),
        ({"owner": ""}, "owner: found 0"),
        ({"owner": 3}, "a name is not text"),
        ({"owner": "e\u0301"}, "form NFC"),
        ({"subject": "a\nb"}, "without control"),
        ({"subject": "\ud800"}, "without control"),
        ({"decoder": "x"}, "decoder is not"),
        ({"time": "2025-01-31"}, "time is not"),
        ({"scheme": "MD5"}, "another scheme"),
        ({"scheme": []}, "another scheme"),
        ({"version": 2}, "not version 1"),
        ({"artfp": "key"}, "not an artfp commitment"),
        ({"more": 1}, "not a commitment with the fields"),
    ],
)
def test_malformed_commitments_are_refused(
    word: Any, tmp_path: Path, change: Any, found: str
) -> None:
    made, _ = commit(word, "Ada", "cats")
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**made.to_json(), **change}))
    with pytest.raises(UserError, match=found) as caught:
        Commitment.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"salt": "00"}, {"salt": None}, {"bare": 1}, {"opens": "x"}, {"salt": "0" * 63 + "\n"}],
)
def test_malformed_openings_are_refused(word: Any, tmp_path: Path, change: Any) -> None:
    _, opening = commit(word, "Ada", "cats")
    path = tmp_path / "x.json"
    opening.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match="missing or malformed") as caught:
        Opening.load(path)
    assert opening.salt.hex()[:8] not in str(caught.value)


def test_files_that_are_no_commitments(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    Key.draw().save(key)
    for load in (Commitment.load, Opening.load):
        with pytest.raises(UserError, match="not an artfp"):
            load(key)
        with pytest.raises(UserError, match="No such file"):
            load(tmp_path / "none")
        with pytest.raises(UserError):
            load("\0")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "2025-01-31T09:30:00",
        "2025-01-31T09:30:00Z",
        "2025-01-31T10:30:00+01:00",
        "2025-01-31 09:30:00+00:00",
        "2025-02-31T09:30:00+00:00",
        "2025-01-31T09:30+00:00",
        "2025-01-31T09:30:00.5+00:00",
    ],
)
def test_times_have_one_form(text: Any) -> None:
    assert check_time("2025-01-31T09:30:00+00:00")
    with pytest.raises(UserError):
        check_time(text)
