"""`artfp attribute cluster`."""

from __future__ import annotations

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console
from artfp.passive_studies.clustering.settings import ClusterSettings

DESCRIPTION = """\
Cluster the images of an unlabelled folder by source, by what their noise residuals share: a
pattern, place by place, and spectra. Nothing is known of the sources, not even how many there are.

How the number is found: the images are divided into the clusters that are found again on random
subsets of the images (mean Jaccard index --stability or more), and each of these in the same way,
until nothing stable is found inside. What is left over beside stable clusters is a remainder. Few
images of a source (about 50 small ones) are merged with another's rather than split.

Content, codec and size leave traces in spectra too: photographs of two kinds may be two clusters.

With --scores, a detector's scores of the images are fused with the clusters: the scores of all
images of a cluster count for each of them (Marra et al. 2019)."""

EPILOG = """\
examples:
  artfp attribute cluster folder/ --output_dir clusters/
  artfp attribute cluster sources/ --output_dir clusters/ --truth       # measure, on subfolders
  artfp attribute cluster folder/ --output_dir clusters/ --scores detector.csv

scores: CSV with the columns file and score, larger for generated, on any scale.

writes into --output_dir: clusters.csv, the cluster of each image (and the fused score);
clusters.json; clusters.png, the similarities of the images in the order of the clusters.

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _cluster(settings: ClusterSettings) -> int:
    from artfp.passive_studies.clustering.report import cluster_sentences, clusters_table
    from artfp.passive_studies.clustering.study import FILES, cluster_images

    found = cluster_images(settings)
    console().print(clusters_table(found))
    for line in cluster_sentences(found):
        console().print(line, soft_wrap=True, markup=False)
    console().print(
        f"{count_images(len(found.names))}; wrote {', '.join(FILES)} into {settings.output_dir}",
        soft_wrap=True,
        markup=False,
    )
    return report_unusable(found.failed)


COMMAND = Command(ClusterSettings, _cluster, DESCRIPTION, EPILOG)
