"""`artfp attribute`: which of several known sources made an image."""

from __future__ import annotations

from artfp.core.command import CommandGroup, Entry

DESCRIPTION = """\
Tell which of several generators, cameras or other sources made an image, by the traces that they
leave without being asked to. Nothing was embedded, so this is evidence from statistics: it knows
the sources that it was fitted to, and says "none of these" of what does not look like them."""

EPILOG = """\
examples:
  artfp attribute fit dumps/
  artfp attribute predict suspects/
  artfp attribute predict suspects/ --same_source --json -
  artfp attribute report labelled/
  artfp attribute study dumps/ --output_dir study/
  artfp attribute cluster unlabelled/ --output_dir clusters/

exit codes: 0 done, 1 some images could not be used, 2 bad input, 130 interrupted"""

ACTIONS = {
    "fit": Entry(
        "artfp.passive.command_fit:COMMAND",
        "Learn sources from a folder with one subfolder of images for each",
    ),
    "train": Entry(
        "artfp.passive.command_fit:TRAIN",
        "Train a network to distinguish them (Yu et al. 2019), also against perturbations",
    ),
    "predict": Entry(
        "artfp.passive.command_predict:COMMAND",
        "Attribute images, each by itself or all of one source together",
    ),
    "report": Entry(
        "artfp.passive.command_predict:REPORT",
        "Measure an attributor on labelled images; also of sources that it does not know",
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
        "Learn sources by nearest neighbour or Eigenfaces, to compare with fit",
    ),
    "learned": Entry(
        "artfp.passive_studies.yu2019.command:COMMAND",
        "Study sources with such networks: perturbations, features, unknown sources (Yu et al.)",
    ),
    "visnet": Entry(
        "artfp.passive.command_fit:VISNET",
        "Train a network whose evidence can be looked at, with pictures (Yu et al. 2019)",
    ),
}


COMMAND = CommandGroup(DESCRIPTION, ACTIONS, EPILOG)
