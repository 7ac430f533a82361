"""The schedules against their rules, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from artfp.watermark.networks.base import Encoder
from artfp.watermark.training.schedules import (
    FASTER,
    STARTED,
    FeedbackSchedule,
    PublishedSchedule,
)


class Strength(Encoder):
    """A synthetic encoder whose PSNR follows from its strength alone."""

    def __init__(self, strength: float) -> None:
        super().__init__(8, 32)
        self.strength = strength

    def rescale(self, factor: float | Tensor) -> None:
        self.strength *= float(factor)

    @property
    def psnr(self) -> Tensor:
        return torch.tensor(-20.0 * math.log10(self.strength))


def accuracy(value: float) -> Tensor:
    return torch.tensor(value)


def test_published_weight_curve() -> None:
    schedule = PublishedSchedule(weight=10.0, pause=5, ramp=4)
    encoder, weights = Strength(1.0), []
    # Nothing counts before a batch above 0.9; afterwards nothing stops the count.
    for value in [0.5, 0.9, 0.89] + [0.91] + [0.2] * 12:
        schedule.update(encoder, accuracy(value), encoder.psnr, accuracy(value))
        weights.append(float(schedule.image_weight()))
    # Step 0 of the count is the batch above 0.9 (place 3); the ramp begins after 5 more.
    assert weights == [0.0] * 3 + [0.0] * 6 + [2.5, 5.0, 7.5] + [10.0] * 4
    assert encoder.strength == 1.0


def test_published_weight_curve_of_the_paper() -> None:
    schedule = PublishedSchedule()
    for count, weight in [
        (-1, 0),
        (0, 0),
        (1000, 0),
        (1300, 1),
        (2500, 5),
        (4000, 10),
        (10**6, 10),
    ]:
        schedule.since.fill_(count)
        assert float(schedule.image_weight()) == pytest.approx(weight)


@pytest.mark.parametrize(("pause", "ramp"), [(0, 0), (0, 1), (3, 0)])
def test_published_without_pause_or_ramp(pause: int, ramp: int) -> None:
    schedule = PublishedSchedule(2.0, pause, ramp)
    assert float(schedule.image_weight()) == 0.0
    schedule.since.fill_(pause + 1)
    assert float(schedule.image_weight()) == 2.0


def test_running_accuracy_is_an_exponential_mean() -> None:
    schedule, expected = PublishedSchedule(), 0.5
    draws = torch.Generator().manual_seed(0)
    for value in torch.rand(50, generator=draws):
        schedule.update(Strength(1.0), value, torch.tensor(30.0), value)
        expected = 0.95 * expected + 0.05 * float(value)
    assert float(schedule.accuracy) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("begin", [0.5, 0.001])
def test_strength_converges_to_the_goal(begin: float) -> None:
    """Without a kick-off the goal stays where it began, and the strength goes there."""
    encoder, schedule = Strength(begin), FeedbackSchedule(32.0, 40.0, steps=1000)
    schedule.update(encoder, accuracy(0.5), encoder.psnr, accuracy(0.5))
    assert float(encoder.psnr) == pytest.approx(32.0, abs=0.01)  # the first step corrects it all
    draws = torch.Generator().manual_seed(0)
    for _ in range(200):
        noisy = encoder.psnr + 0.5 * torch.randn((), generator=draws)
        schedule.update(encoder, accuracy(0.5), noisy, accuracy(0.5))
    assert float(schedule.goal) == 32.0
    assert float(encoder.psnr) == pytest.approx(32.0, abs=0.5)
    schedule.ease(6.0)
    for _ in range(100):
        schedule.update(encoder, accuracy(0.5), encoder.psnr, accuracy(0.5))
    assert float(encoder.psnr) == pytest.approx(26.0, abs=0.01)


@pytest.mark.parametrize("worst", [0.8, 1.0])
def test_goal_rises_once_kicked_off_and_faster_when_all_is_read(worst: float) -> None:
    steps, latest = 400, 0.7
    encoder = Strength(0.1)
    schedule = FeedbackSchedule(32.0, 40.0, steps, hold=0.93, latest=latest)
    mean, mean_worst, goal, end = 0.5, 0.5, 32.0, round(latest * steps)
    reached = None
    for step in range(steps):
        right = 0.6 if step < 60 else 1.0
        schedule.update(encoder, accuracy(right), encoder.psnr, accuracy(worst))
        mean += 0.05 * (right - mean)
        mean_worst += 0.05 * (worst - mean_worst)
        if mean >= STARTED:
            quick = FASTER if mean_worst >= 0.93 else 1.0
            goal = min(40.0, goal + (40.0 - goal) / max(1, end - step) * quick)
        assert float(schedule.goal) == pytest.approx(goal, abs=2e-3), step
        if step < 60:
            assert goal == 32.0
        if reached is None and goal > 39.9:
            reached = step
    assert goal == pytest.approx(40.0)
    assert float(encoder.psnr) == pytest.approx(40.0, abs=0.05)
    assert reached is not None and reached <= end
    assert (reached < 240) == (worst > 0.93)


@pytest.mark.parametrize("slower", [1, 4])
def test_goal_is_reached_by_the_time_that_is_given(slower: int) -> None:
    """A hundred steps of equal length fit into the time; then only a quarter of them do."""
    encoder, schedule = Strength(0.1), FeedbackSchedule(30.0, 40.0, steps=10_000, hold=2.0)
    schedule.accuracy.fill_(1.0)
    fraction, goals = 0.0, {}
    while fraction < 1.0:
        schedule.follow_time(fraction)
        schedule.update(encoder, accuracy(1.0), encoder.psnr, accuracy(1.0))
        goals[round(fraction, 4)] = float(schedule.goal)
        fraction += 0.01 * (slower if fraction >= 0.3 else 1)
    # The goal of a step is that of the time at its beginning.
    assert goals[0.3] == pytest.approx(30.0 + 10.0 * 0.3 / 0.7, abs=0.02)
    assert min(goal for at, goal in goals.items() if at >= 0.75) == 40.0


def test_steps_count_where_they_end_before_the_time() -> None:
    schedules = [FeedbackSchedule(30.0, 40.0, steps=100) for _ in range(2)]
    for step in range(100):
        schedules[1].follow_time(step / 1000)
        for schedule in schedules:
            schedule.update(Strength(0.1), accuracy(1.0), torch.tensor(30.0), accuracy(0.9))
        assert torch.equal(schedules[0].goal, schedules[1].goal)


def test_restart_and_resume() -> None:
    encoder = Strength(0.1)
    schedule, fresh = (FeedbackSchedule(32.0, 40.0, 100) for _ in range(2))
    for _ in range(90):
        schedule.update(encoder, accuracy(1.0), encoder.psnr, accuracy(1.0))
    assert float(schedule.goal) > 32.0
    # The buffers are the whole state.
    fresh.load_state_dict(schedule.state_dict())
    other = Strength(encoder.strength)
    for number in range(30):
        for one, network in ((schedule, encoder), (fresh, other)):
            off = network.psnr + 3.0 * (-1) ** number
            one.update(network, accuracy(0.9), off, accuracy(0.9))
        assert other.strength == encoder.strength
        assert torch.equal(fresh.goal, schedule.goal)
    schedule.restart()
    assert float(schedule.goal) == 32.0 and float(schedule.accuracy) == 0.5
    schedule.update(encoder, accuracy(0.5), encoder.psnr + 7.0, accuracy(0.5))

    published = PublishedSchedule()
    published.since.fill_(4000)
    published.restart()
    assert float(published.image_weight()) == 0.0 and float(published.accuracy) == 0.5
