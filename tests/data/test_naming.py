from __future__ import annotations

import io
import posixpath
import random
import time
from typing import Any

import pytest

from artfp.core.errors import UserError
from artfp.data import naming
from artfp.data.naming import (
    check_labels,
    match_labels,
    output_names,
    renamed_dataset_json,
    unique_name,
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.jpg"], ["a/x.png"]),
        (["a.b.jpg", "c.PNG", "noext"], ["a.b.png", "c.png", "noext.png"]),
        (["x.jpg", "y/x.jpg"], ["x.png", "y/x.png"]),
        (["x.jpg", "x.png"], ["x.jpg.png", "x.png.png"]),
        (["x.jpg", "x.png", "x.jpg.png"], ["x.jpg.png", "x.png.png", "x.jpg.png.png"]),
        (["X.jpg", "x.png"], ["X.jpg.png", "x.png.png"]),
        (["a.jpg", "a.png/b.jpg"], ["a.jpg.png", "a.png/b.png"]),
        ([], []),
    ],
)
def test_output_names(names: list[str], expected: list[str]) -> None:
    assert output_names(names, ".png") == expected


def test_names_that_differ_in_case_alone() -> None:
    outputs = output_names(["X.jpg", "x.jpg", "x.JPG"], ".png")
    assert len({output.casefold() for output in outputs}) == 3
    assert [output.split("~")[0] for output in outputs] == ["X.jpg", "x.jpg", "x.JPG"]


def test_composed_and_decomposed_letters_do_not_meet() -> None:
    one, two = output_names(["caf\u00e9.jpg", "cafe\u0301.jpg"], ".png")
    assert one.split("~")[1] != two.split("~")[1]


def test_random_names_never_share_an_output() -> None:
    draw = random.Random(7)
    parts = ["x", "X", "y", "a.b", "x.jpg", "x.png", ".h", "\udcff"]
    endings = [".jpg", ".png", ".JPG", ".jpg.png", ".png.png", ""]
    for _ in range(400):
        names = {
            "/".join([*draw.choices(parts, k=draw.randint(0, 2)), draw.choice(parts)])
            + draw.choice(endings)
            for _ in range(draw.randint(1, 30))
        }
        listed = sorted(names)
        outputs = output_names(listed, ".png")
        folded = {output.casefold() for output in outputs}
        assert len(folded) == len(names)
        assert all(output.endswith(".png") for output in outputs)
        folders = set()
        for output in outputs:
            folder = posixpath.dirname(output)
            while folder:
                folders.add(folder.casefold())
                folder = posixpath.dirname(folder)
        assert not folders & folded
        for name, output in zip(listed, outputs, strict=True):
            assert posixpath.dirname(name) == posixpath.dirname(output)
        shuffled = draw.sample(listed, len(listed))
        again = dict(zip(shuffled, output_names(shuffled, ".png"), strict=True))
        assert again == dict(zip(listed, outputs, strict=True))


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        output_names(["x.jpg", "x.jpg"], ".png")


def test_renamed_dataset_json() -> None:
    mapping = {"a/0.jpg": "a/0.png", "a/1.jpg": "a/1.png"}
    listed = {"labels": [["a/0.jpg", 3], ["gone.jpg", 1], ["a/1.jpg", [0.5]]], "name": "set"}
    assert renamed_dataset_json(listed, mapping) == {
        "labels": [["a/0.png", 3], ["a/1.png", [0.5]]],
        "name": "set",
    }
    assert listed["labels"][0] == ["a/0.jpg", 3]  # the caller's own is left alone
    keyed = {"labels": {"a/1.jpg": 2, "gone.jpg": 1}}
    assert renamed_dataset_json(keyed, mapping) == {"labels": {"a/1.png": 2}}
    assert renamed_dataset_json({"labels": None}, mapping) == {"labels": None}
    assert renamed_dataset_json({"other": 1}, mapping) == {"other": 1}
    for labels in (3, [["only a name"]], [[1, 2]], ["ab"]):
        with pytest.raises(UserError, match=r"dataset\.json"):
            renamed_dataset_json({"labels": labels}, mapping)


def test_names_longer_than_a_file_system_takes_are_cut() -> None:
    long = "f/" + "é" * 125
    names = [f"{long}.jpg", f"{long}.png", "f/" + "x" * 251 + ".bmp", "f/" + "x" * 300 + ".png"]
    outputs = output_names(names, ".tiff")
    assert len(set(outputs)) == 4
    for output in outputs:
        folder, _, base = output.partition("/")
        assert folder == "f" and len(base.encode()) <= 255 and base.endswith(".tiff")
    assert output_names(["a/" + "x" * 251 + ".jpg"], ".png") == ["a/" + "x" * 251 + ".png"]


def test_folders_longer_than_a_file_system_takes_are_cut() -> None:
    folders = ["é" * 130, "x" * 300 + "/y", "/".join(["deep"] * 2000), "/".join(["deep"] * 2001)]
    outputs = output_names([f"{folder}/a.jpg" for folder in folders], ".png")
    assert len(set(outputs)) == 4
    for output in outputs:
        assert output.endswith("/a.png") and len(output.encode()) < 2400
        assert all(len(part.encode()) <= 255 for part in output.split("/"))
    assert outputs[1].split("/")[1] == "y"
    start = time.monotonic()
    output_names([f"{'x' * 65_000}{n}.png" for n in range(20)], ".png")
    assert time.monotonic() - start < 1


def test_many_names_that_clean_to_one() -> None:
    taken: dict[str, int] = {}
    start = time.monotonic()
    names = [unique_name("a.png", taken) for _ in range(20_000)]
    assert time.monotonic() - start < 1  # 13 s when each begins from ~2
    assert names[:3] == ["a.png", "a~2.png", "a~3.png"] and len(set(names)) == 20_000
    assert unique_name("a~2.png", taken) == "a~2~2.png"


def test_labels_that_do_not_meet_the_names_letter_by_letter() -> None:
    names = ["0/a.png", "0/b.png", "1/c.png", "1/c.jpg"]
    labels = [["0\\a.png", 1], ["./0/b.jpg", 2], ["1/c.webp", 3], ["1\\c.jpg", 4], [5], "x"]
    found = match_labels({"labels": labels}, names)
    assert found == {
        "labels": [["0/a.png", 1], ["0/b.png", 2], ["1/c.webp", 3], ["1/c.jpg", 4], [5], "x"]
    }
    assert match_labels({"labels": {"0\\b.png": 1}}, names) == {"labels": {"0/b.png": 1}}
    for dataset in (None, {}, {"labels": None}, {"labels": 3}):
        assert match_labels(dataset, names) == dataset


def test_lost_labels_are_told(caplog: pytest.LogCaptureFixture) -> None:
    names = ["a.png", "b.png"]
    check_labels({"labels": [["a.png", 1], ["gone.png", 2]]}, names, "in")
    assert caplog.messages == ["in: 1 labels in dataset.json name no image; left out"]
    with pytest.raises(UserError, match=r"none of the 2 labels .* \(such as a.png\)"):
        check_labels({"labels": {"c.png": 1, "d.png": 2}}, names, "in")
    datasets: list[dict[str, Any] | None] = [None, {}, {"labels": None}, {"labels": []}]
    for dataset in datasets:
        check_labels(dataset, names, "in")
    with pytest.raises(UserError, match="label entry"):
        check_labels({"labels": [[1]]}, names, "in")


def test_size_of_labels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "MAX_LABEL_BYTES", 20)
    assert naming.read_dataset_json(io.BytesIO(b'{"labels": null}'), "x") == {"labels": None}
    with pytest.raises(UserError, match=r"x: dataset\.json has more than"):
        naming.read_dataset_json(io.BytesIO(b'{"labels": [          '), "x")
