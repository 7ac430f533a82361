"""Files in and files out: sources, safe decoding, geometry, writers, journals.

`artfp.data.predict` and `artfp.data.training` are imported by themselves: they need torch.
"""

from artfp.data.archive import ZipSource
from artfp.data.decode import (
    IMAGE_SUFFIXES,
    MAX_BYTES,
    MAX_PIXELS,
    ImageError,
    Picture,
    decode_image,
)
from artfp.data.geometry import Geometry, fit
from artfp.data.journal import Journal, Manifest
from artfp.data.naming import output_names, renamed_dataset_json
from artfp.data.sources import FileSource, ImageSource, open_source
from artfp.data.writing import (
    FORMATS,
    Format,
    encode_image,
    pack_zip,
    remove_leftovers,
    suffix_of,
    write_atomic,
)

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "FileSource",
    "Format",
    "Geometry",
    "ImageError",
    "ImageSource",
    "Journal",
    "Manifest",
    "Picture",
    "ZipSource",
    "decode_image",
    "encode_image",
    "fit",
    "open_source",
    "output_names",
    "pack_zip",
    "remove_leftovers",
    "renamed_dataset_json",
    "suffix_of",
    "write_atomic",
]
