"""`artfp attribute`: passive attribution of images to one of several known sources."""

from __future__ import annotations

from artfp.core.command import CommandGroup, Entry

DESCRIPTION = """\
Attribute images to one of several known sources (generators, cameras, or real images of one kind)
by the traces that sources leave in them. Nothing was embedded, so this is statistical evidence: an
attributor knows the sources that it was fitted to, and rejects images of unknown ones ("none of
these")."""

EPILOG = """\
examples:
  artfp attribute fit dumps/
  artfp attribute predict suspects/
  artfp attribute predict suspects/ --same_source --json -
  artfp attribute report labelled/
  artfp attribute study dumps/ --output_dir study/
  artfp attribute cluster unlabelled/ --output_dir clusters/

exit codes: 0 done, 1 some images could not be used"""

ACTIONS = {
    "fit": Entry(
        "artfp.passive.command_fit:COMMAND",
        "Fit an attributor to a folder with one subfolder of images for each source",
    ),
    "train": Entry(
        "artfp.passive.command_fit:TRAIN_ATTRIBUTOR",
        "Train a network as an attributor (Yu et al. 2019), also against perturbations",
    ),
    "predict": Entry(
        "artfp.passive.command_predict:COMMAND",
        "Attribute images, each by itself or all of one source together",
    ),
    "report": Entry(
        "artfp.passive.command_predict:REPORT",
        "Assess an attributor on labelled images, also of unknown sources",
    ),
    "study": Entry(
        "artfp.passive_studies.marra2019.command:COMMAND",
        "Analyse the residual fingerprints of sources as Marra et al. 2019 do, with figures",
    ),
    "localise": Entry(
        "artfp.passive_studies.localisation.command:COMMAND",
        "Localise splices: where an image lacks its source's residual fingerprint",
    ),
    "cluster": Entry(
        "artfp.passive_studies.clustering.command:COMMAND",
        "Cluster unlabelled images by source, however many there are",
    ),
    "fingerprint": Entry(
        "artfp.passive.residuals.command:FINGERPRINT",
        "Estimate one source's residual fingerprint as a file; add to it, merge it",
    ),
    "correlate": Entry(
        "artfp.passive.residuals.command:CORRELATE",
        "Correlate images with residual fingerprints, also as camera forensics does",
    ),
    "remove": Entry(
        "artfp.passive_studies.removal.command:COMMAND",
        "Subtract a residual fingerprint from images, to measure how robust attribution is",
    ),
    "baseline": Entry(
        "artfp.passive.command_fit:BASELINE",
        "Fit a baseline, to compare with fit: nearest neighbour, Eigenfaces",
    ),
    "learned": Entry(
        "artfp.passive_studies.yu2019.command:COMMAND",
        "Study sources with networks: perturbations, features, open set (Yu et al. 2019)",
    ),
    "visnet": Entry(
        "artfp.passive.command_fit:TRAIN_VISNET",
        "Train a network with visible evidence, with pictures (Yu et al. 2019)",
    ),
}


COMMAND = CommandGroup(DESCRIPTION, ACTIONS, EPILOG)
