"""Pictures for people."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from artfp.reporting.image_grid import encode_picture, fingerprint_grid


def test_three_rows() -> None:
    x = torch.rand(4, 3, 120, 10, generator=torch.Generator().manual_seed(0))
    marked = x + torch.tensor([0.0, 0.01, -0.02, 0.3]).view(4, 1, 1, 1)
    named = fingerprint_grid(x, marked)
    grid = named[:, :, 22:]
    assert grid.shape == (3, 3 * 122 + 2, 4 * 12 + 2)
    names = named[:, :, :22].chunk(3, 1)
    assert all((name < 0.5).any() for name in names) and not torch.equal(names[0], names[1])
    for row, (expected, atol) in enumerate(
        [
            (x, 1e-6),
            (marked, 1e-6),
            (torch.tensor([0.5, 0.6, 0.3, 1.0]).view(4, 1, 1, 1).expand_as(x), 1e-5),
        ]
    ):
        for column in range(4):
            top, left = 2 + 122 * row, 2 + 12 * column
            tile = grid[:, top : top + 120, left : left + 10]
            torch.testing.assert_close(tile, expected[column], rtol=0, atol=atol)
    assert (grid[:, :2] == 1.0).all()


def test_names_have_room_beside_tiny_images() -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    grid = fingerprint_grid(x, x)
    assert grid.shape == (3, 3 * 98 + 2, 22 + 2 * 98 + 2)
    assert torch.equal(grid[:, 2:98:3, 24:120:3], x[0])


def test_png_holds_the_pixels() -> None:
    picture = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    kept = picture.clone()
    image = Image.open(io.BytesIO(encode_picture(picture)))
    assert image.format == "PNG" and image.size == (7, 5) and image.mode == "RGB"
    expected = np.rint(picture.numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(image), expected)
    assert torch.equal(picture, kept)
