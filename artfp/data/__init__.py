"""Files in and files out: sources, safe decoding, geometry, batches, writers, journals."""

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
from artfp.data.predict import Batch, PredictionData, default_workers
from artfp.data.sources import FileSource, ImageSource, open_source
from artfp.data.writing import (
    FORMATS,
    Format,
    encode_image,
    pack_zip,
    suffix_of,
    write_atomic,
)

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Batch",
    "FileSource",
    "Format",
    "Geometry",
    "ImageError",
    "ImageSource",
    "Journal",
    "Manifest",
    "Picture",
    "PredictionData",
    "ZipSource",
    "decode_image",
    "default_workers",
    "encode_image",
    "fit",
    "open_source",
    "output_names",
    "pack_zip",
    "renamed_dataset_json",
    "suffix_of",
    "write_atomic",
]
