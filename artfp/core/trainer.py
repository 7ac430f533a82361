"""Lightning's Trainer, which says in one line what it does not like."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from artfp.core.errors import UserError


def new_trainer(**options: Any) -> pl.Trainer:
    """A Trainer with these options. Raises UserError where Lightning refuses them."""
    try:
        return pl.Trainer(**options)
    except (
        ValueError,
        TypeError,
        RuntimeError,
        ImportError,  # what an accelerator or a precision needs and is not installed
        MisconfigurationException,
    ) as error:
        raise UserError(f"Lightning's Trainer refused its settings: {error}") from error
