"""The report of a detection: whole, well formed, harmless whatever files are called."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.audit.candidates import GivenFingerprint
from artfp.audit.console import explain_verdict, verdict_table
from artfp.audit.html_report import IMAGES_PER_FOLD, MAX_LISTED, embed_json, power_of_ten, render
from artfp.audit.report import AuditContext, report_contents
from artfp.audit.svg import agreement_strip, histogram, match_bar, null_distribution
from artfp.audit.verdicts import (
    audit_records,
)
from artfp.ownership.key import to_text
from artfp.stats import Policy
from artfp.watermark.records import (
    pack_logits,
)

BITS = 32
WORD = np.random.default_rng(5).integers(0, 2, BITS).astype(np.uint8)
NASTY = [
    "<script>alert(1)</script>.png",
    "</script><script>alert(1)</script>.png",
    "\" onerror='alert(1)' x=.png",
    "a\nb\udcff\u2028\u202e&amp;{{ 7 * 7 }}<!--.png",
]


class _Page(HTMLParser):
    """Elements in order, the text outside of scripts, and whether all were closed."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts = "", [""]
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        else:
            self.text += data


def _facts(names: list[str], strength: float = 3.0, reveal: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    records = []
    for name in names:
        logits = strength * (2.0 * WORD - 1.0) + rng.normal(0, 1, BITS)
        bits = to_text((logits > 0).astype(np.uint8))
        record = {"name": name, "height": 8, "width": 9, "realigned": "", "bits": bits}
        records.append(record | {"logits": pack_logits(logits)})
    every = [*names, "bad<b>.png"]
    records.append({"name": "bad<b>.png", "error": "<i>why</i>"})
    found = audit_records(records, every, BITS, GivenFingerprint(WORD), Policy(), False, reveal)
    decoder = {
        "name": "<d>",
        "hash": "0" * 64,
        "bits": BITS,
        "realign": True,
        "searched": "images as they are",
    }
    asked = AuditContext(
        "in/<u>",
        "artfp detect '<x>'",
        "key",
        decoder,
        Policy(),
        warnings=("<w> & co",),
        left_out={".gif": 2, ".<b>": 1},
    )
    return report_contents(found, asked, {names[0]: "ab" * 32} if names else {})


def test_names_do_nothing() -> None:
    facts = _facts(NASTY)
    page = render(facts, {name: "data:image/jpeg;base64,AAAA" for name in NASTY})
    parsed = _Page(page)
    assert [attrs for tag, attrs in parsed.tags if tag == "script"] == [
        {"type": "application/json", "id": "artfp-detection"}
    ]
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert json.loads(parsed.scripts[-1])["evidence"][0]["name"] in NASTY
    for name in NASTY[:3]:
        assert name in parsed.text
    assert r"a\nb\udcff\u2028\u202e&amp;{{ 7 * 7 }}<!--.png" in parsed.text
    assert "left out: 2 .gif, 1 .<b>" in parsed.text
    assert "<i>why</i>" in parsed.text and "<w> & co" in parsed.text
    page.encode("utf-8")
    assert "\u2028" not in page and "\u202e" not in page


def test_nothing_is_fetched_or_run() -> None:
    page = render(_facts(NASTY), {NASTY[0]: "data:image/jpeg;base64,AAAA"})
    assert not re.search(r"https?:|@import|url\(|<link|<iframe|javascript:", page)
    for _, attrs in _Page(page).tags:
        assert set(attrs) & {"src", "href"} <= {"src", "href"}
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("data:image/jpeg;base64,", "#"))


def test_all_that_the_verdict_rests_on_is_there() -> None:
    facts = _facts(["a.png"])
    page = _Page(render(facts, {}))
    verdict = facts["verdict"]
    for text in (
        facts["question"], verdict["answer"], verdict["explanation"], verdict["limits"],
        facts["command"], facts["software"], facts["decoder"]["hash"], "in/<u>", "bad<b>.png",
    ):  # fmt: skip
        assert text in page.text
    images = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in images)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    assert all(attrs["alt"] for tag, attrs in page.tags if tag == "img")
    assert json.loads(page.scripts[-1]) == facts


@pytest.mark.parametrize("reveal", [False, True])
def test_which_bits_match_is_told_only_when_revealed(reveal: bool) -> None:
    facts = _facts(["a.png", "b.png"], 0.5, reveal)
    page = render(facts, {})
    assert ("agreement" in page) == ("Secret." in page) == reveal
    assert ("bit by bit" in page) == reveal
    one, other = (agreement_strip(text, 9) for text in ("0110", "1100"))
    assert one != other
    assert match_bar(2, 4, 9) == match_bar(2, 4, 9)


def test_many_images_are_folded_and_the_weakest_left_out() -> None:
    facts = _facts([f"{i}.png" for i in range(2 * IMAGES_PER_FOLD + 1)])
    page = render(facts, {})
    assert page.count('<table class="images"') == 3 and page.count("<details open>") == 1
    facts["evidence"] *= MAX_LISTED // len(facts["evidence"]) + 1
    facts["images"]["read"] = len(facts["evidence"])
    page = render(facts, {})
    copy = json.loads(_Page(page).scripts[-1])
    assert len(copy["evidence"]) == MAX_LISTED and "are not listed here" in page
    weakest = min(image["matches"] for image in copy["evidence"])
    assert sum(image["matches"] > weakest for image in facts["evidence"]) < MAX_LISTED


def test_nothing_read() -> None:
    facts = _facts([])
    assert "nothing was tested" in render(facts, {})
    assert explain_verdict(facts) == "Nothing was tested."
    assert verdict_table(facts).row_count == 1


def test_what_is_embedded_reads_back() -> None:
    content = {"a": ["</script>", "<!--", "&", "\u2028", "\udcff", "'"]}
    text = str(embed_json(content))
    assert not set("<>&") & set(text) and text.isascii()
    assert json.loads(text) == content


@pytest.mark.parametrize("keys", [1, 7, 100_000])
def test_the_law_of_the_nearest_of_random_keys(keys: int) -> None:
    counts = np.arange(101)
    below = stats.binom.cdf(counts, 100, 0.5) ** keys
    assert null_distribution(100, keys).sum() == pytest.approx(1)
    assert np.cumsum(null_distribution(100, keys)) == pytest.approx(below, abs=1e-9)


@pytest.mark.parametrize("matches", [[0], [16], [32], [14, 16, 16, 30], [16] * 3000])
def test_histograms_are_drawn_inside_their_frame(matches: list[int]) -> None:
    for threshold in (20, 33):
        text = str(histogram(matches, 32, 5, threshold))
        assert text.count('class="seen"') == len(set(matches))
        for x, y, width, height in re.findall(
            r'class="seen" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', text
        ):
            assert float(x) >= 50 and float(x) + float(width) <= 720
            assert float(y) >= 30 and float(y) + float(height) <= 240
        assert "nan" not in text


def test_powers_of_ten() -> None:
    assert power_of_ten(0.0) == "1" and power_of_ten(math.log10(0.35)) == "0.35"
    assert power_of_ten(-29.2) == "6.3 \u00d7 10\u207b³⁰"
    assert power_of_ten(-4.00001) == "1.0 \u00d7 10\u207b⁴"
