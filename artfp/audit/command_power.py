"""`artfp power`: the number of images that a verdict needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from artfp.audit.settings import STDOUT, PowerSettings
from artfp.core.command import Command
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line

DESCRIPTION = """\
Compute how many images of one source are needed to find a fingerprint in them, for bits that are
decoded with some accuracy and a test at some level: what detect --same_source needs, before images
are gathered.

A level is the probability of a match by chance, over all fingerprints compared: with --registered N
each is tested at level / N, as detect --registry does. Power is the probability that a fingerprint
that is there is found. artfp measure and artfp detect print the accuracy of the bits."""

EPILOG = """\
examples:
  artfp power
  artfp power --bits 64 --registered 1000 --method majority
  artfp power --accuracies 0.52,0.55,0.6 --levels 1e-4,1e-6 --csv power.csv --plot power.png

The numbers are a best case: errors of the bits are taken as independent from image to image. More
images do not help against bits that are wrong in all images of a source.

methods: soft weighs the decoder's logits, as detect --same_source does (a Gaussian model, good to
.03 from 32 bits); majority counts the bits of the majority of the images (exact).

exit codes: 0 done"""


def _power(settings: PowerSettings) -> int:
    from artfp.audit.power_report import (
        POWER_MODEL,
        images_needed,
        plot_power,
        power_csv,
        power_json,
        power_rows,
    )
    from artfp.data.files import write_atomic
    from artfp.data.paths import FIGURE_SUFFIXES, check_output
    from artfp.reporting.figure import save_figure

    if settings.plot is not None:
        check_output(settings.plot, "--plot", FIGURE_SUFFIXES)
    cells = images_needed(settings)
    contents = json.dumps(power_json(settings, cells), indent=1) + "\n"
    files = ((settings.json, contents), (settings.csv, power_csv(cells)))
    piped = STDOUT in (settings.json, settings.csv)
    out = sys.stderr if piped else sys.stdout
    about = f"{settings.bits} bits, {settings.method}"
    print(f"images of one source for a power of {settings.power:g}, {about}:", file=out)
    console(stderr=piped).print(power_rows(settings, cells))
    print(POWER_MODEL, file=out)
    if any(cell.images is None for cell in cells):
        print(f"-: no number of images suffices with {settings.bits} bits.", file=out)
    for path, content in files:
        if path == STDOUT:
            print(content, end="")
        elif path is not None:
            write_atomic(Path(path), content)
            print(f"wrote {one_line(path)}", file=out)
    if settings.plot is not None:
        save_figure(plot_power(settings), settings.plot)
        print(f"wrote {one_line(str(settings.plot))}", file=out)
    print_next_step("artfp detect suspects/ --key owner.key.json --same_source")
    return 0


COMMAND = Command(PowerSettings, _power, DESCRIPTION, EPILOG)
