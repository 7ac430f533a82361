"""`artfp attribute`: which of several known sources made an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from artfp.core.legacy import parsed_action
from artfp.passive import attribute_baseline, attribute_report, attribute_visnet
from artfp.passive import command_fit as attribute_fit
from artfp.passive import command_predict as attribute_predict
from artfp.passive import command_train as attribute_train
from artfp.passive.residuals import attribute_correlate, attribute_fingerprint
from artfp.passive_studies.clustering import command as attribute_cluster
from artfp.passive_studies.localisation import command as attribute_localise
from artfp.passive_studies.marra2019 import command as attribute_study
from artfp.passive_studies.removal import command as attribute_remove
from artfp.passive_studies.yu2019 import command as attribute_learned

HELP = """\
usage: artfp attribute ACTION ...

Tell which of several generators, cameras or other sources made an image, by the traces that they
leave without being asked to. Nothing was embedded, so this is evidence from statistics: it knows
the sources that it was fitted to, and says "none of these" of what does not look like them.

actions:
  fit          Learn sources from a folder with one subfolder of images for each
  train        Train a network to tell them apart (Yu et al. 2019), also against perturbations
  predict      Attribute images, each by itself or all of one source together
  report       Measure an attributor on labelled images; also of sources that it does not know
  study        Analyse the fingerprints of sources as Marra et al. 2019 do, with pictures
  localise     Show where an image carries a source's fingerprint, and where it was spliced
  cluster      Put unlabelled images into clusters by source, however many there are
  fingerprint  Estimate one source's fingerprint as a file; add to it, merge it
  correlate    Correlate images with such fingerprints, also as camera forensics does
  remove       Subtract a fingerprint from images, to measure how robust attribution is
  baseline     Learn sources by nearest neighbour or Eigenfaces, to compare with fit
  learned      Study sources with such networks: perturbed, features, unknown sources (Yu et al.)
  visnet       Train a network whose evidence can be looked at, with pictures (Yu et al. 2019)

examples:
  artfp attribute fit dumps/
  artfp attribute predict suspects/
  artfp attribute predict suspects/ --same_source --json -
  artfp attribute report labelled/
  artfp attribute study dumps/ --output_dir study/
  artfp attribute cluster unlabelled/ --output_dir clusters/

artfp attribute ACTION --help tells an action's options.
exit codes: 0 done, 1 some images could not be used, 2 bad input, 130 interrupted"""

_MODULES: dict[str, Any] = {
    "fit": attribute_fit,
    "train": attribute_train,
    "predict": attribute_predict,
    "report": attribute_report,
    "study": attribute_study,
    "localise": attribute_localise,
    "cluster": attribute_cluster,
    "fingerprint": attribute_fingerprint,
    "correlate": attribute_correlate,
    "remove": attribute_remove,
    "baseline": attribute_baseline,
    "learned": attribute_learned,
    "visnet": attribute_visnet,
}

_Act = Callable[[Any, Any, list[str]], int]

_ACTIONS: dict[str, tuple[Callable[[str], Any], _Act]] = {
    name: (module.describe, module.act) for name, module in _MODULES.items()
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    found = parsed_action("artfp attribute", _ACTIONS, argv, HELP)
    if found is None:
        return 0
    act, args, parser, words = found
    return act(args, parser, words)
