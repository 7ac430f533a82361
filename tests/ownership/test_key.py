"""The fingerprint: texts, distances, and words from keys against a hand-written RFC 5869."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.key import (
    MAX_NAME,
    Key,
    check_name,
    encode_fields,
    hamming_distance,
    owner_context,
    to_text,
)
from tests.ownership.test_fingerprint_text import ALL_BITS


def hkdf(secret: bytes, info: bytes, length: int, salt: bytes = b"") -> bytes:
    """RFC 5869 with SHA-256, sections 2.2 and 2.3."""
    prk = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    okm, block, counter = b"", b"", 1
    while len(okm) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        okm += block
        counter += 1
    return okm[:length]


def test_reference_hkdf_gives_the_vector_of_the_rfc() -> None:
    # RFC 5869, appendix A.1
    okm = hkdf(bytes([0x0B] * 22), bytes(range(0xF0, 0xFA)), 42, salt=bytes(range(13)))
    assert okm.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@pytest.mark.parametrize("context", [b"", b"\x00\xff", "model A", "caf\u00e9"])
def test_words_are_hkdf_of_the_key(context: Any) -> None:
    key = Key(bytes(range(32)))
    raw = context.encode() if isinstance(context, str) else context
    for bits in ALL_BITS:
        info = b"artfp/fingerprint/v1\0" + bits.to_bytes(2, "big") + raw
        stream = hkdf(bytes(range(32)), info, -(-bits // 8))
        expected = "".join(f"{byte:08b}" for byte in stream)[:bits]
        word = key.fingerprint(bits, context=context)
        assert word.dtype == np.uint8
        assert to_text(word) == expected


def test_lengths_contexts_and_keys_give_independent_words() -> None:
    key = Key.from_seed(3)
    words = [key.fingerprint(bits)[:200] for bits in range(200, 240)]
    words += [key.fingerprint(200, context=f"model {i}") for i in range(40)]
    words += [Key.from_seed(i).fingerprint(200) for i in range(4, 44)]
    words += [Key.draw().fingerprint(200) for _ in range(40)]
    stack = np.stack(words)
    between = hamming_distance(stack[:, None], stack[None])[np.triu_indices(len(stack), 1)]
    # 12,720 pairs of Bin(200, 1/2): six standard deviations (42) are exceeded in 1 of 40,000 runs
    assert between.min() > 58
    assert between.max() < 142
    assert abs(between.mean() - 100) < 1


def test_a_seed_gives_the_same_key_and_a_draw_does_not() -> None:
    assert Key.from_seed(7) == Key.from_seed(7)
    assert len({Key.from_seed(i) for i in range(-50, 50)}) == 100
    assert len({Key.draw() for _ in range(50)}) == 50
    assert Key.from_seed(7) != "key"


@pytest.mark.parametrize("bits", [-1, 0, 513])
def test_a_key_gives_no_word_of_an_unsupported_length(bits: int) -> None:
    with pytest.raises(UserError, match=f"found {bits} bits"):
        Key.draw().fingerprint(bits)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"found {size} bytes"):
        Key(bytes(size))


def test_tag_names_the_key_and_its_text_hides_the_secret() -> None:
    secret = bytes(range(32, 64))
    key = Key(secret)
    assert key.tag() == hmac.new(secret, b"artfp/key-tag/v1", "sha256").hexdigest()
    assert key.tag() == Key(secret).tag() != Key.draw().tag()
    for text in (repr(key), str(key), f"{key}", key.tag()):
        assert secret.hex()[:8] not in text
        assert repr(secret)[2:10] not in text


def test_key_file_round_trips_and_is_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "owner.json"
    key = Key.draw()
    before = os.umask(0)
    try:
        key.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = json.loads(path.read_text())
    assert content["artfp"] == "key"
    assert content["version"] == 1
    assert content["created"].endswith("+00:00")
    assert Key(bytes.fromhex(content["secret"])) == key
    loaded = Key.load(str(path))
    assert loaded == key
    np.testing.assert_array_equal(loaded.fingerprint(100), key.fingerprint(100))
    assert caplog.records == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read_is_loaded_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "owner.json"
    key = Key.draw()
    key.save(path)
    path.chmod(mode)
    assert Key.load(path) == key
    (record,) = caplog.records
    assert record.name == "artfp"
    assert record.levelname == "WARNING"
    assert f"chmod 600 {path}" in record.getMessage()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "owner.json"
    Key.draw().save(path)
    first = path.read_bytes()
    with pytest.raises(UserError, match="never overwritten unasked"):
        Key.draw().save(path)
    assert path.read_bytes() == first


def test_a_key_is_not_saved_through_a_link_that_lies_there(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match="exists already"):
        Key.draw().save(link)
    assert not (tmp_path / "elsewhere.json").exists()


def test_a_write_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written: No space"):
        Key.draw().save(tmp_path / "owner.json")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: No such file"):
        Key.load(tmp_path / "none.json")
    with pytest.raises(UserError, match="Is a directory"):
        Key.load(tmp_path)
    with pytest.raises(UserError, match="No such file"):
        Key.draw().save(tmp_path / "none" / "owner.json")


SECRET = "ab" * 32


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (SECRET.encode(), "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not an artfp key"),
        (b'{"secret": "' + SECRET.encode() + b'"}', "not an artfp key"),
        (json.dumps({"artfp": "key", "version": 2, "secret": SECRET}).encode(), "not version 1"),
        (json.dumps({"artfp": "key", "version": 1}).encode(), "64 lower-case"),
        (json.dumps({"artfp": "key", "version": 1, "secret": SECRET[1:]}).encode(), "64 lower"),
        (json.dumps({"artfp": "key", "version": 1, "secret": SECRET + "\n"}).encode(), "64 lower"),
        (json.dumps({"artfp": "key", "version": 1, "secret": "zz" * 32}).encode(), "64 lower"),
    ],
)
def test_files_that_are_no_keys_are_refused(tmp_path: Path, content: Any, found: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=found) as caught:
        Key.load(path)
    assert str(path) in str(caught.value)
    assert SECRET[:8] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_pass_between_processes() -> None:
    key = Key.draw()
    assert pickle.loads(pickle.dumps(key)) == key


def test_context_is_label_and_names_after_their_lengths() -> None:
    label, owner, subject = b"artfp/owner-subject/v1", "Zo\u00eb".encode(), b"cats"
    expected = b"\0" * 7 + b"\x16" + label + b"\0" * 7 + b"\x04" + owner
    assert owner_context("Zo\u00eb", "cats") == expected + b"\0" * 7 + b"\x04" + subject


def test_no_two_pairs_share_a_context() -> None:
    names = ["a", "b", "aa", "ab", "a b", "ba", "a|b", "a/b", "\x85a"[1:], "\u202ea", "A", "\u00e0"]
    contexts = {owner_context(owner, subject) for owner in names for subject in names}
    assert len(contexts) == len(set(names)) ** 2
    key = Key.from_seed(1)
    assert hamming_distance(
        key.fingerprint(256, owner="Ada", subject="cats"),
        key.fingerprint(256, owner="Adac", subject="ats"),
    ) > 70  # fmt: skip
    # Not even of fields that imitate the encoding.
    assert encode_fields(b"a", b"b") != encode_fields(b"a" + bytes(7) + b"\1b")
    assert encode_fields() == b"" != encode_fields(b"")


def test_two_ways_to_type_a_name_are_one() -> None:
    assert owner_context("Zoe\u0308", "cats") == owner_context("Zo\u00eb", "cats")
    assert check_name("Zoe\u0308", "owner") == "Zo\u00eb"


@pytest.mark.parametrize(
    "name",
    ["", " a", "a\u00a0", "a\nb", "\x00", "a\x1b[31m", "\udcff", "\u2028a", "x" * (MAX_NAME + 1)],
)
def test_names_that_are_none(name: Any) -> None:
    for pair in ((name, "cats"), ("Ada", name)):
        with pytest.raises(UserError, match=r"(owner|subject): found") as caught:
            owner_context(*pair)
        assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["<script>", "x' OR 1=1 --", "[red]", "a  b", "\u06a9\u200c\u0646", "x" * MAX_NAME]
)
def test_names_that_look_odd_are_names(name: Any) -> None:
    assert check_name(name, "owner") == name


def test_a_key_is_overwritten_when_told_to(tmp_path: Path) -> None:
    path = tmp_path / "owner.json"
    Key.draw().save(path)
    path.chmod(0o644)
    key = Key.draw()
    key.save(path, overwrite=True)
    assert Key.load(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["owner.json"]


def test_where_files_cannot_be_linked_a_key_is_saved_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **more: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "owner.json"
    key = Key.draw()
    key.save(path)
    assert Key.load(path) == key
    with pytest.raises(UserError, match="exists already"):
        Key.draw().save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["owner.json"]


def test_a_key_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "owner.json"
    real = os.fsync

    def another_comes(handle: Any) -> None:
        path.write_text("another's")
        real(handle)

    monkeypatch.setattr(os, "fsync", another_comes)
    with pytest.raises(UserError, match="exists already"):
        Key.draw().save(path)
    assert path.read_text() == "another's"
    assert [each.name for each in tmp_path.iterdir()] == ["owner.json"]


def test_names_that_no_file_can_have() -> None:
    for name in ("a\0b", "\ud800"):
        with pytest.raises(UserError):
            Key.draw().save(name)
        with pytest.raises(UserError):
            Key.load(name)
