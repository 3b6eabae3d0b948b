"""Work that takes long is done beside the event loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from typing import Any

import pytest

from airflow_provider_enos.client.worker_thread import in_worker_thread


def slow() -> str:
    time.sleep(0.1)
    return threading.current_thread().name


def test_the_loop_goes_on_meanwhile() -> None:
    async def main() -> tuple[int, list[str]]:
        works = asyncio.gather(in_worker_thread(slow), in_worker_thread(slow))
        turns = 0
        while not works.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns, await works

    turns, names = asyncio.run(main())
    assert turns > 5
    assert len(set(names)) == 1
    assert names[0].startswith("enos-replies")


def test_an_error_comes_back() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(in_worker_thread(fail))


def _in_a_child(pipe: Any) -> None:
    pipe.send(asyncio.run(in_worker_thread(lambda: 5)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_its_own() -> None:
    asyncio.run(in_worker_thread(lambda: None))
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(theirs,))
    child.start()
    assert ours.poll(20)
    assert ours.recv() == 5
    child.join(20)
