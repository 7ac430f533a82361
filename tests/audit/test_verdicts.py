"""Verdicts over the records of a detection, against the evidence of all logits at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.audit.candidates import GivenFingerprint, RegistryEntries
from artfp.audit.report import AuditContext, report_contents
from artfp.audit.settings import DetectSettings
from artfp.audit.verdicts import (
    AuditResult,
    audit_records,
)
from artfp.core.errors import UserError
from artfp.data.paths import check_output
from artfp.ownership.key import to_text
from artfp.ownership.registry import Registry, RegistryEntry
from artfp.stats import Policy, bonferroni, evaluate_source, log_p_value
from artfp.watermark.records import (
    latest_records,
    pack_logits,
    unpack_logits,
)

BITS, IMAGES, KEYS = 40, 9, 30
POLICY = Policy()


@pytest.fixture
def keys() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, (KEYS, BITS)).astype(np.uint8)


@pytest.fixture
def registry(keys: np.ndarray, tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry", create=True) as made:
        made.add_all(RegistryEntry.of(word, f"owner {i}", "cats") for i, word in enumerate(keys))
        made.add(RegistryEntry.of(np.ones(16, np.uint8), "other bits", "cats"))
        yield made


def _logits(word: np.ndarray, strength: float, seed: int = 2) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (IMAGES, BITS))
    return strength * (2.0 * word - 1.0) + noise


def _records(logits: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{i}.png",
            "height": 8,
            "width": 9,
            "realigned": "",
            "bits": to_text((row > 0).astype(np.uint8)),
            "logits": pack_logits(row),
        }
        for i, row in enumerate(logits)
    ]


def _names(records: list[dict[str, Any]]) -> list[str]:
    return [record["name"] for record in records]


def _facts(found: AuditResult, **fields: Any) -> dict[str, Any]:
    decoder = {
        "name": "d",
        "hash": "0" * 64,
        "bits": BITS,
        "realign": True,
        "searched": "images as they are",
    }
    return report_contents(
        found, AuditContext("in", "artfp detect", "registry", decoder, POLICY, **fields), {}
    )


def test_logits_keep_three_digits() -> None:
    logits = np.random.default_rng(0).normal(0, 8, 200)
    kept = unpack_logits(pack_logits(logits))
    assert kept == pytest.approx(np.clip(logits, -20, 20), rel=1e-3)
    assert unpack_logits(pack_logits(np.array([-np.inf, 1e9]))).tolist() == [-20, 20]


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0, -2.0])
def test_one_source_against_all_logits_at_once(
    registry: Registry, keys: np.ndarray, strength: float
) -> None:
    logits = unpack_logits(pack_logits(_logits(keys[7], strength).ravel())).reshape(IMAGES, BITS)
    records = _records(logits)
    whole = evaluate_source(logits, keys)
    found = audit_records(
        records, _names(records), BITS, RegistryEntries(registry, BITS), POLICY, True
    )
    assert found.verdict is not None and found.best is not None and found.best.entry is not None
    assert found.compared == whole.tests == KEYS
    assert found.verdict.log_p == pytest.approx(whole.log_p.min())
    assert found.verdict.log_p_corrected == pytest.approx(whole.corrected.min())
    assert found.verdict.log_p_tampered == pytest.approx(whole.log_p_inverted.min())
    assert found.best.entry.owner == f"owner {whole.best}"
    assert found.matches == whole.matches[whole.best]
    assert found.verdict.tampered == (strength < 0)
    assert (found.verdict.outcome == "match") == (strength > 0)


def test_single_images_are_corrected_for_keys_and_the_batch_for_images_too(
    registry: Registry, keys: np.ndarray
) -> None:
    logits = _logits(keys[3], 0.0)
    logits[4] = 3.0 * (2.0 * keys[3] - 1.0)
    records = _records(logits)
    found = audit_records(records, _names(records), BITS, RegistryEntries(registry, BITS), POLICY)
    for record, finding in zip(records, found.findings, strict=True):
        counts = [(to_text(key), record["bits"]) for key in keys]
        counts_of = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in counts]
        assert (finding.matches, finding.fewest) == (max(counts_of), min(counts_of))
        expected = bonferroni(float(log_p_value(max(counts_of), BITS)), KEYS)
        assert finding.verdict.log_p_corrected == pytest.approx(expected)
    assert found.verdict is not None and found.best is not None and found.best.entry is not None
    assert found.verdict.outcome == "match" and found.best.entry.owner == "owner 3"
    exact = -BITS * math.log(2) + math.log(KEYS * IMAGES)
    assert found.verdict.log_p_corrected == pytest.approx(exact)
    assert [f.verdict.outcome == "match" for f in found.findings].count(True) == 1


def test_owners_of_one_fingerprint_are_all_named(registry: Registry, keys: np.ndarray) -> None:
    registry.add(RegistryEntry.of(keys[3], "second owner", "dogs"))
    records = _records(_logits(keys[3], 3.0))
    for same_source in (False, True):
        found = audit_records(
            records, _names(records), BITS, RegistryEntries(registry, BITS), POLICY, same_source
        )
        assert found.best is not None and found.best.entry is not None
        assert found.best.entry.owner == "owner 3"
        assert [entry.owner for entry, _ in found.others] == ["second owner"]
        assert any("which of the owners" in text for text in _facts(found)["warnings"])


def test_no_images_and_one_key(keys: np.ndarray) -> None:
    failed = [{"name": "b", "error": "why"}, {"name": "a", "error": "so"}]
    found = audit_records(failed, ["a", "b"], BITS, GivenFingerprint(keys[0]), POLICY, True)
    assert found.verdict is None and found.failed == [("a", "so"), ("b", "why")]
    assert _facts(found)["verdict"] is None
    records = _records(_logits(keys[0], 3.0))[:1]
    for same_source in (False, True):
        found = audit_records(
            records, _names(records), BITS, GivenFingerprint(keys[0]), POLICY, same_source
        )
        assert found.verdict is not None and found.verdict.outcome == "match"
        assert found.compared == found.verdict.tests == 1


def test_facts_are_json_and_tell_which_bits_match_only_when_revealed(
    registry: Registry, keys: np.ndarray
) -> None:
    records = _records(_logits(keys[3], 1.0))
    for reveal in (False, True):
        found = audit_records(
            records, _names(records), BITS, RegistryEntries(registry, BITS), POLICY, True, reveal
        )
        facts = _facts(found)
        text = json.dumps(facts, allow_nan=False)
        for image, record in zip(facts["evidence"], records, strict=True):
            assert ("agreement" in image) == ("decoded" in image) == reveal
            if reveal:
                assert image["decoded"] == record["bits"]
                assert image["agreement"].count("1") == image["matches"]
        entry = found.findings[0].nearest.entry
        assert entry is not None and entry.hex not in text
        assert (records[0]["bits"] in text) == reveal
        assert to_text(keys[3]) not in text


def test_records_settle_to_the_last_success() -> None:
    stream = [
        {"name": "a", "error": "late"},
        {"name": "b", "logits": "1", "bits": "0"},
        {"name": "a", "logits": "2", "bits": "0"},
        {"name": "a", "error": "later still"},
        {"name": "c", "error": "no"},
        {"name": "unknown", "logits": "3", "bits": "0"},
        {"name": "b", "logits": "4", "bits": "0"},
    ]
    found = {r["name"]: r for r in latest_records(lambda: stream, ["a", "b", "c"])}
    assert [found[n].get("logits") for n in "abc"] == ["2", "4", None]


def test_a_registry_that_has_no_such_bits_or_changes_is_refused(
    registry: Registry, keys: np.ndarray
) -> None:
    with pytest.raises(UserError, match="none of its 31 entries has 24 bits"):
        RegistryEntries(registry, 24)
    sought = RegistryEntries(registry, BITS)
    registry.add(RegistryEntry.of(1 - keys[0], "new", "cats"))
    with pytest.raises(UserError, match="were added"):
        sought.compare(keys[:1])
    with pytest.raises(UserError, match="were added"):
        sought.rank(np.ones(BITS))


def test_command_lines_show_no_fingerprint() -> None:
    settings = DetectSettings(data_dir="a b\udcff\n", fingerprint="c35a", report=Path("r.html"))
    assert settings.command_line("artfp detect") == (
        "artfp detect --data_dir 'a b\udcff\n' --report r.html --fingerprint ..."
    )


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    assert check_output(str(tmp_path / "new/report.html"), "report").parent.is_dir()
    with pytest.raises(UserError, match="is a folder"):
        check_output(str(tmp_path), "report")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_output(str(tmp_path / "file/report.html"), "report")


@pytest.mark.parametrize("same_source", [False, True])
def test_images_that_cannot_carry_the_message_are_inconclusive(
    keys: np.ndarray, same_source: bool
) -> None:
    records = _records(_logits(keys[0], 0.0)[:6])

    def audit(small: set[str], outcome: np.ndarray = keys[1]) -> AuditResult:
        return audit_records(
            records,
            _names(records),
            BITS,
            GivenFingerprint(outcome),
            Policy(alpha=0.01, power=0.5),
            same_source,
            doubt=lambda record: "8x8 px cannot" if record["name"] in small else "",
        )

    none, some, every = audit(set()), audit({"1.png"}), audit(set(_names(records)))
    assert none.verdict is not None and none.verdict.outcome == "no match" and not none.doubtful
    assert some.verdict is not None and some.verdict.outcome == "no match"
    assert some.verdict.limits.startswith("It is about 5 of 6 images: ")
    outcomes = [finding.verdict.outcome for finding in some.findings]
    assert outcomes[1] == "inconclusive" and outcomes.count("no match") == 5
    assert every.verdict is not None and every.verdict.outcome == "inconclusive"
    assert "6 of 6 images cannot be ruled out, as 8x8 px cannot" in every.verdict.explanation
    assert every.verdict.log_p == none.verdict.log_p
    facts = _facts(some)
    assert facts["images"] == {"read": 6, "unreadable": 0, "doubtful": 1, "left_out": {}}
    assert [image["open_because"] for image in facts["evidence"]][:2] == ["", "8x8 px cannot"]


def test_a_match_stays_one_in_a_small_image(keys: np.ndarray) -> None:
    records = _records(_logits(keys[0], 3.0))[:1]
    found = audit_records(
        records, ["0.png"], BITS, GivenFingerprint(keys[0]), POLICY, doubt=lambda record: "small"
    )
    assert found.verdict is not None and found.verdict.outcome == "match"
