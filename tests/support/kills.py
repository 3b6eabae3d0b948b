"""Kills of a task, as Airflow sends them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_enos.simulator import EnosSimulator


@contextmanager
def killable(task: Any) -> Iterator[list[float]]:
    """Set the handler for SIGTERM that Airflow sets. Yield how long each kill took."""
    took: list[float] = []

    def on_term(*_: object) -> None:
        begun = time.monotonic()
        task.operator.on_kill()
        took.append(time.monotonic() - begun)

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield took
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def killed_at(sim: EnosSimulator, task: Any, moment: Callable[[str, Any], bool]) -> Iterator[list[float]]:
    """Send SIGTERM when the simulator reaches a moment. A moment after a reply needs a task that keeps running."""
    killed, one_by_one = threading.Event(), threading.Lock()

    def on_event(event: str, record: Any) -> None:
        if killed.is_set():
            return
        with one_by_one:
            if not killed.is_set() and moment(event, record):
                killed.set()
                os.kill(os.getpid(), signal.SIGTERM)

    sim.on_event(on_event)
    with killable(task) as took:
        try:
            yield took
        finally:
            with one_by_one:  # a later signal would end the process of the tests
                killed.set()


def at(event: str, operation: str) -> Callable[[str, Any], bool]:
    return lambda seen, record: (seen, record.operation) == (event, operation)


@contextmanager
def interrupted_while_held(sim: EnosSimulator, on_signal: Callable[..., None]) -> Iterator[None]:
    """Send a signal to this process while EnOS has done what it was asked for and has not answered."""

    def interrupt() -> None:
        while not sim.held:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, on_signal)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        signal.signal(signal.SIGTERM, before)


@contextmanager
def killed_while_held(sim: EnosSimulator, one: Any) -> Iterator[list[float]]:
    """Send SIGTERM, as Airflow's supervisor does, while EnOS has not answered. Yield how long each kill took."""
    took: list[float] = []

    def on_term(*_: object) -> None:
        begun = time.monotonic()
        one.operator.on_kill()
        took.append(time.monotonic() - begun)
        sim.release(drop=True)

    with interrupted_while_held(sim, on_term):
        yield took
