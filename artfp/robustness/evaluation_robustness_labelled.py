"""A robustness study of passive attributors: labelled images, of which they name the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from artfp.core.errors import UserError
from artfp.passive.attributors.base import Attributor
from artfp.robustness.study import Images, Study
from artfp.robustness.sweep import ImageSet, Sample


def labelled(attributors: Mapping[str, Attributor], images: Mapping[str, Images]) -> Study:
    """Sets of the images of each folder by name; attributors that know the same sources share one.

    Folders that have no source's name are of sources that nobody knows: they count false positives.
    `attributors` are known by what decides their results, such as a hash.

    Raises UserError: two attributors of one name, or one that knows none of the folders.
    """
    names = [attributor.name for attributor in attributors.values()]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two attributors are called {name!r}; give one another name: other={name}"
            )
    groups: dict[tuple[str, ...], list[Attributor]] = {}
    for attributor in attributors.values():
        groups.setdefault(tuple(attributor.sources), []).append(attributor)
    sets = []
    for sources, group in groups.items():
        if not set(sources) & set(images):
            raise UserError(
                f"{group[0].name} knows {', '.join(sources)}; no folder of images has such a "
                f"name, found {', '.join(images)}"
            )
        count = sum(len(each.spool) for each in images.values())
        samples = partial(_samples, sources, images)
        sets.append(ImageSet(f"labelled, {group[0].name}", samples, count, tuple(group)))
    settings = {
        "contestants": {a.name: {"attributor": digest} for digest, a in attributors.items()},
        "labelled": {name: each.digest for name, each in images.items()},
    }
    return Study(sets, settings)


def joined(studies: Sequence[Study]) -> Study:
    """Several studies in one sweep. Raises UserError: contestants of one name."""
    settings: dict[str, object] = {}
    contestants: dict[str, object] = {}
    for study in studies:
        for name in study.settings["contestants"]:
            if name in contestants:
                raise UserError(f"two contestants are called {name!r}; give one another name")
        contestants |= study.settings["contestants"]
        settings |= study.settings
    sets = [image_set for study in studies for image_set in study.sets]
    return Study(sets, {**settings, "contestants": contestants})


def _samples(sources: Sequence[str], images: Mapping[str, Images]) -> Iterator[Sample]:
    for name, each in images.items():
        number = sources.index(name) if name in sources else None
        for index in range(len(each.spool)):
            yield Sample(each.spool[index], number)
