from __future__ import annotations

import asyncio
import threading

import pytest

from airflow_provider_enos.client import timing


def test_pauses_are_as_asked_for_unless_they_are_overridden() -> None:
    assert timing.pause(7.5) == 7.5
    assert timing.Timing().handover == 6.0
    with timing.override(pause=timing.at_most(0.01), handover=0.5):
        assert timing.pause(7.5) == 0.01
        assert timing.pause(0.001) == 0.001
        assert timing.handover() == 0.5
    assert timing.pause(7.5) == 7.5


def test_long_pauses_between_polls_are_shortened_a_little_so_that_polls_spread() -> None:
    long = [timing.poll_pause(30.0) for _ in range(200)]
    assert 28.5 <= min(long) < max(long) <= 30.0
    assert timing.poll_pause(2.0) == 2.0


def test_overrides_can_be_nested() -> None:
    with timing.override(pause=timing.at_most(1.0)):
        with timing.override(poll_pause=timing.at_most(2.0)):
            assert (timing.pause(9.0), timing.poll_pause(9.0)) == (1.0, 2.0)
        assert timing.pause(9.0) == 1.0
        assert timing.poll_pause(9.0) > 8.0


def test_an_override_ends_with_an_error() -> None:
    with pytest.raises(KeyError), timing.override(pause=timing.at_most(0.0)):
        raise KeyError
    assert timing.pause(9.0) == 9.0


def test_an_override_holds_in_every_thread_and_loop() -> None:
    """``dag.test()`` runs triggers in a loop of their own."""
    seen: list[float] = []

    async def main() -> None:
        seen.append(timing.pause(9.0))

    with timing.override(pause=timing.at_most(0.0)):
        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        thread.join()
    assert seen == [0.0]
