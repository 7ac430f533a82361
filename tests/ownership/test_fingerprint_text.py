"""Fingerprints as text, and how far two are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.assignment import read_fingerprint_file
from artfp.ownership.key import (
    MAX_BITS,
    MIN_BITS,
    Key,
    hamming_distance,
    parse_fingerprint,
    to_hex,
    to_text,
)

ALL_BITS = range(MIN_BITS, MAX_BITS + 1)


def test_texts_round_trip_at_every_length() -> None:
    rng = np.random.default_rng(1)
    for bits in ALL_BITS:
        for word in (
            rng.integers(0, 2, bits).astype(np.uint8),
            np.zeros(bits, np.uint8),
            np.ones(bits, np.uint8),
        ):
            for text in (to_text(word), to_hex(word), "0x" + to_hex(word), to_hex(word).upper()):
                back = parse_fingerprint(f" {text}\n", bits)
                assert back.dtype == np.uint8
                assert back.shape == (bits,)
                np.testing.assert_array_equal(back, word)


def test_hexadecimal_has_its_most_significant_bit_first() -> None:
    assert to_text(parse_fingerprint("0x8001", 16)) == "1000000000000001"
    assert to_text(parse_fingerprint("3ff", 10)) == "1111111111"
    assert to_hex([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]) == "003"


def test_length_alone_tells_bits_from_hexadecimal() -> None:
    assert to_text(parse_fingerprint("10101010", 8)) == "10101010"
    assert to_text(parse_fingerprint("10101010", 32)) == "00010000" * 4
    np.testing.assert_array_equal(
        parse_fingerprint("10101010", 32), parse_fingerprint("0x10101010", 32)
    )


@pytest.mark.parametrize(
    ("text", "bits", "found"),
    [
        ("", 32, "an empty text"),
        ("0x", 32, "2 characters that are not"),
        ("01" * 17, 32, "34 characters 0 or 1"),
        ("abc", 32, "3 hexadecimal digits"),
        ("0xabcdef012", 32, "9 hexadecimal digits"),
        ("abcdefgh", 32, "8 characters that are not"),
        ("1 0" * 4, 12, "12 characters that are not"),
        ("-1234567", 32, "8 characters that are not"),
        ("\u0661" * 8, 8, "8 characters that are not"),
        ("1_000_00", 32, "8 characters that are not"),
        ("400", 10, "number of 11 bits"),
        ("fff", 10, "number of 12 bits"),
        ("0101", 0, "found 0 bits, expected 1 to 512"),
        ("0101", 513, "found 513 bits, expected 1 to 512"),
    ],
)
def test_other_texts_are_refused(text: Any, bits: int, found: str) -> None:
    with pytest.raises(UserError, match=found) as caught:
        parse_fingerprint(text, bits)
    assert "\n" not in str(caught.value)


def test_a_refusal_does_not_tell_the_secret() -> None:
    secret = to_hex(Key.draw().fingerprint(128))
    with pytest.raises(UserError) as caught:
        parse_fingerprint(secret + "0", 128)
    assert secret[:6] not in str(caught.value)


@pytest.mark.parametrize("bad", [[[0, 1], [1, 0]], [0, 2, 1], [0.5, 1.0], [], 1])
def test_what_is_no_fingerprint_has_no_text(bad: Any) -> None:
    with pytest.raises(ValueError, match="fingerprint: found"):
        to_text(bad)


def test_distance_counts_and_broadcasts() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 2, (5, 1, 33)).astype(np.uint8)
    b = rng.integers(0, 2, (4, 33)).astype(bool)
    result = hamming_distance(a, b)
    assert result.shape == (5, 4)
    for i in range(5):
        for j in range(4):
            assert result[i, j] == sum(int(x) != int(y) for x, y in zip(a[i, 0], b[j], strict=True))
    assert hamming_distance([0, 1, 1], [1, 1, 0]) == 2
    assert hamming_distance(np.zeros(256, np.uint8), np.ones(256, np.uint8)) == 256


def test_distance_refuses_unequal_lengths_even_where_they_would_broadcast() -> None:
    with pytest.raises(ValueError, match="8 and 1 bits"):
        hamming_distance(np.zeros(8), np.zeros(1))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        hamming_distance(np.full(8, -3.5), np.zeros(8))


@pytest.mark.parametrize("given", ["10" * 50, "c0ffee" * 4])
def test_a_fingerprint_given_as_a_file_is_not_repeated(given: str) -> None:
    for read in (Key.load, read_fingerprint_file):
        with pytest.raises(UserError, match="looks like a fingerprint") as error:
            read(given)
        assert given not in str(error.value)
