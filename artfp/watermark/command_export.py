"""`artfp export`: weights in the form in which the authors of ArtFP publish theirs."""

from __future__ import annotations

from artfp.core.command import Command
from artfp.core.errors import one_line
from artfp.watermark.settings import ExportSettings

DESCRIPTION = """\
Write an encoder and its decoder for other programs.

--published writes two PyTorch state dicts, NAME_encoder.pth and NAME_decoder.pth, which the
published scripts of ArtFP (Yu et al. 2021) load; artfp reads them as well. Only weights of the
published architecture can be written so: artfp train --architecture stegastamp."""

EPILOG = """\
examples:
  artfp export --published runs/celeba/encoder.safetensors --output_dir published
  artfp export --published runs/celeba/encoder.safetensors --output_dir published --name celeba

exit codes: 0 written, 2 bad input"""


def _export(settings: ExportSettings) -> int:
    from artfp.watermark.export import export_published

    encoder, decoder = export_published(settings)
    print(f"wrote {one_line(str(encoder))} and {one_line(str(decoder))}")
    return 0


COMMAND = Command(ExportSettings, _export, DESCRIPTION, EPILOG)
