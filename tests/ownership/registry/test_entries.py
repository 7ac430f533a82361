"""Entries of a registry: what makes one, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.commitment import commit
from artfp.ownership.key import owner_context, to_text
from artfp.ownership.registry import Registry, RegistryEntry
from tests.ownership.registry.entries import DECODER, HOSTILE, entry, word


def test_texts_of_an_entry_hide_the_fingerprint() -> None:
    made = entry()
    for text in (repr(made), str(made), str(made.public())):
        assert made.hex not in text
        assert to_text(made.fingerprint) not in text
        assert repr(made.packed)[2:-1] not in text
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_out_as_they_went_in(path: Any, text: Any) -> None:
    notes = text + "\n\t\x1b[31m" + "n" * 100_000
    made = RegistryEntry.of(word(), text, text[::-1].strip(), notes=notes)
    with Registry(path, create=True) as registry:
        registry.add(made)
        assert list(registry) == [made] == list(registry.find(owner=text))
        registry.verify()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"owner": "a\nb"}, "owner: found"),
        ({"owner": "\udcff"}, "owner: found"),
        ({"subject": "a\0"}, "subject: found"),
        ({"subject": ""}, "subject: found 0"),
        ({"notes": "a\0b"}, "notes: found NUL"),
        ({"notes": "\udcff"}, "no UTF-8"),
        ({"notes": "x" * 1_000_001}, "at most 1000000"),
        ({"decoder": "ab"}, "decoder is not"),
    ],
)
def test_malformed_entries_are_not_made(change: Any, found: str) -> None:
    with pytest.raises(UserError, match=found) as caught:
        RegistryEntry.of(word(), **{"owner": "Ada", "subject": "cats", **change})
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


@pytest.mark.parametrize("bits", [0, 513])
def test_wrong_bit_counts_are_refused(bits: int) -> None:
    with pytest.raises((UserError, ValueError), match="found"):
        RegistryEntry.of(np.zeros(bits, np.uint8), "Ada", "cats")


@pytest.mark.parametrize("bad", [np.full(100, 2), np.zeros((2, 50)), np.full(100, 0.5)])
def test_what_is_no_fingerprint_makes_no_entry(bad: Any) -> None:
    with pytest.raises(ValueError, match="fingerprint: found"):
        RegistryEntry.of(bad, "Ada", "cats")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x" * 32},
        {"id": "ab"},
        {"bits": 99, "packed": b"\xff" * 13},
        {"bits": 96},
        {"bits": 110},
        {"bits": True},
        {"packed": bytes(12) + b"\x01"},
        {"packed": "text"},
        {"owner": "e\u0301"},
        {"time": "today"},
        {"commitment": "{}"},
        {"commitment": "["},
        {"notes": None},
    ],
)
def test_entries_made_by_hand_are_checked(path: Any, change: Any) -> None:
    with Registry(path, create=True) as registry:
        with pytest.raises(UserError):
            registry.add(replace(entry(), **change))
        assert len(registry) == 0


def test_a_commitment_to_something_else_is_refused() -> None:
    for changed in (
        commit(word(), "Bob", "cats"),
        commit(word(), "Ada", "dogs"),
        commit(word(99), "Ada", "cats"),
        commit(word(), "Ada", "cats", "cd" * 32),
    ):
        with pytest.raises(UserError, match="commitment is to"):
            RegistryEntry.of(word(), "Ada", "cats", DECODER, changed[0])
    assert RegistryEntry.of(word(), "Ada", "cats", DECODER, commit(word(), "Ada", "cats")[0])


def test_context_and_registry_agree_on_names(path: Any) -> None:
    made = RegistryEntry.of(word(), "Zoe\u0308", "cats")
    assert made.owner == "Zo\u00eb"
    assert owner_context(made.owner, "cats") == owner_context("Zoe\u0308", "cats")
    with Registry(path, create=True) as registry:
        registry.add(made)
        assert list(registry.find("Zoe\u0308")) == [made]
