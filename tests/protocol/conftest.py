"""Drives protocol generators by hand: no sockets, no sleeping, a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from copy import copy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from by_hand import read
from hypothesis import settings

from airflow_provider_enos.protocol.wire.messages import Read, Sleep

settings.register_profile("protocol", max_examples=30, deadline=None, database=None, derandomize=True)
settings.load_profile("protocol")


@dataclass
class Clock:
    """Epoch seconds; a ``Sleep`` that is played moves it on."""

    now: float = 1_600_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    """Lines as a person reads them, each with its level in front."""

    lines: list[str] = field(default_factory=list)

    def info(self, message: str, /, *args: Any) -> None:
        self._add("info", message, args)

    def warning(self, message: str, /, *args: Any) -> None:
        self._add("warning", message, args)

    def error(self, message: str, /, *args: Any) -> None:
        self._add("error", message, args)

    def _add(self, level: str, message: str, args: tuple[Any, ...]) -> None:
        # Airflow 2 logs the value of an enum, which of a status is a number.
        assert not any(isinstance(arg, Enum) for arg in args), f"{message} is given {args}"
        self.lines.append(f"{level}: {message % args}")


@dataclass
class Played:
    """What a generator asked for, and how it ended."""

    steps: list[Any] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None

    @property
    def value(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result

    @property
    def sent(self) -> list[Any]:
        """Its requests or calls."""
        return [step for step in self.steps if not isinstance(step, Sleep)]

    @property
    def operations(self) -> list[str]:
        """The names of its calls, and its pauses as numbers. Calls that only want a valid token are left out."""
        steps = (step for step in self.steps if not getattr(step, "token_only", False))
        return [step.seconds if isinstance(step, Sleep) else step.operation for step in steps]

    @property
    def pauses(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Sleep)]


def _play(
    steps: Generator[Any, Any, Any],
    answers: Iterable[Any] | Callable[[Any], Any],
    clock: Clock | None = None,
    most: int = 500,
) -> Played:
    """Runs ``steps`` to their end; each request or call gets the next answer, of which exceptions are thrown.

    An answer that is a function, or ``answers`` itself if it is one, is given the step and gives the answer.
    All answers must be used.
    """
    script = None if callable(answers) else iter(list(answers))
    played = Played()

    def answer(step: Any) -> Any:
        if isinstance(step, Sleep):
            if clock is not None:
                clock.now += step.seconds
            return None
        if getattr(step, "token_only", False):
            return None
        if isinstance(step, Read):
            return read(step)
        if script is None:
            return answers(step)  # type: ignore[operator]
        given = next(script, script)
        assert given is not script, f"no answer was prepared for {step}"
        return given(step) if callable(given) else given

    try:
        step = next(steps)
        while True:
            assert len(played.steps) < most, "it does not end"
            if not isinstance(step, Read):
                played.steps.append(step)
            given = answer(step)
            # A copy, since errors are marked on their way and tests share them.
            step = steps.throw(copy(given)) if isinstance(given, BaseException) else steps.send(given)
    except StopIteration as done:
        played.result = done.value
    except AssertionError:
        raise
    except Exception as error:
        played.error = error
    finally:
        steps.close()
    if script is not None:
        assert not list(script), "not all answers were asked for"
    return played


# Of the session, so that property tests may use them: what they give is made anew by each call.


@pytest.fixture(scope="session")
def play() -> Callable[..., Played]:
    return _play


@pytest.fixture(scope="session")
def new_clock() -> type[Clock]:
    return Clock


@pytest.fixture(scope="session")
def new_log() -> type[Log]:
    return Log


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> Log:
    return Log()
