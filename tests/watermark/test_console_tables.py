"""The tables that the commands print."""

from __future__ import annotations

import numpy as np
import pytest

from artfp.core.console import console
from artfp.stats import calibrate_decoder
from artfp.watermark.command_calibrate import false_alarm_table, health_table
from artfp.watermark.command_measure import figures_table, trade_off_table
from tests.golden import Golden


def test_calibration(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    decoded = (rng.random((200, 16)) < np.linspace(0.3, 0.7, 16)).astype(np.uint8)
    decoded[:, 3] = 1
    found = calibrate_decoder(decoded, rng.integers(0, 2, (10, 16), dtype=np.uint8), "h" * 64)
    console().print(health_table(found))
    console().print(false_alarm_table(found))
    golden("calibration.txt", capsys.readouterr().out)


def test_measured(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"psnr": 40.123, "ssim": 0.98765, "bit_accuracy_mean": 0.95}
    results = {
        f"40x30, strength {strength:g}": {"strength": strength, **figures}
        for strength in (0.5, 1.0)
    }
    console().print(figures_table(results))
    console().print(trade_off_table(results))
    console().print(figures_table({"own size": figures}))
    golden("measured.txt", capsys.readouterr().out)
