from __future__ import annotations

import multiprocessing
import threading
import time
from multiprocessing.context import BaseContext

from artfp.data.budget import PixelBudget

MEGAPIXEL = 1 << 20


def test_waits_until_there_is_room() -> None:
    budget, busy, most = PixelBudget(10 * MEGAPIXEL), 0, 0
    lock = threading.Lock()

    def work(megapixels: int) -> None:
        nonlocal busy, most
        with budget.hold(megapixels * MEGAPIXEL):
            with lock:
                busy += min(megapixels, 10)
                most = max(most, busy)
            time.sleep(0.002)
            with lock:
                busy -= min(megapixels, 10)

    threads = [threading.Thread(target=work, args=(size,)) for size in (3, 4, 7, 25, 6, 10) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert busy == 0 and most == 10


def test_small_images_never_wait() -> None:
    budget = PixelBudget(MEGAPIXEL)
    with budget.hold(5 * MEGAPIXEL), budget.hold(MEGAPIXEL - 1), budget.hold(0):
        pass


def test_room_comes_back_after_an_error() -> None:
    budget = PixelBudget(MEGAPIXEL)
    for _ in range(3):
        try:
            with budget.hold(MEGAPIXEL):
                raise ValueError
        except ValueError:
            pass


def hold(budget: PixelBudget, seconds: float) -> None:
    with budget.hold(8 * MEGAPIXEL):
        time.sleep(seconds)


def test_processes_share_a_budget() -> None:
    context: BaseContext = multiprocessing.get_context("fork")
    budget = PixelBudget(10 * MEGAPIXEL, context)
    start = time.monotonic()
    workers = [context.Process(target=hold, args=(budget, 0.1)) for _ in range(3)]  # type: ignore[attr-defined]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    assert time.monotonic() - start >= 0.3
