"""Requests that are stopped at a moment until told: to look at what is under way, or to break it.

| moment     | what is true then                                                                    |
| ---------- | ------------------------------------------------------------------------------------ |
| `received` | it has come in, and nothing was done. Dropped: EnOS never does it                    |
| `accepted` | EnOS has done it, and has not answered. Dropped: there is no answer                  |
| `replied`  | the answer is on its way. Dropped: the connection is closed after it                 |

Only operations that change something are ever `accepted`. A request whose client is gone is held like any other.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field

from airflow_provider_enos.simulator.config import OneOf, checked_operation, checked_times

MOMENTS = ("received", "accepted", "replied")


@dataclass(frozen=True)
class Held:
    """A request that is held now."""

    id: int
    on: str
    at: str
    since: float
    """When it was stopped, by the monotonic clock."""


@dataclass
class _Stopped:
    held: Held
    told: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False

    def tell(self, *, drop: bool) -> None:
        self.dropped = drop
        self.told.set()


class HoldBook:
    """The holds asked for, and the requests that they have stopped. Any thread may call it."""

    def __init__(self, operations: frozenset[str], writing: frozenset[str]) -> None:
        self._operations = operations
        self._writing = writing
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._armed: list[tuple[str | None, str, int | None]] = []
        self._stopped: dict[int, _Stopped] = {}

    def add(self, on: str | None, at: str, times: int | None) -> None:
        """Arms a hold. Raises ValueError, naming what exists."""
        checked_operation(on, self._operations)
        try:
            OneOf(*MOMENTS)(at)
        except ValueError as error:
            raise ValueError(f"a hold is at {error}, not {at!r}") from None
        if at == "accepted" and on is not None and on not in self._writing:
            raise ValueError(f"{on!r} changes nothing, so it is never accepted; hold it at received or replied")
        with self._lock:
            self._armed.append((on, at, checked_times(times)))

    def pass_by(self, operation: str, at: str) -> bool:
        """Stops the request of this thread if a hold says so. False where it was told to be dropped."""
        with self._lock:
            if not self._take(operation, at):
                return True
            stopped = _Stopped(Held(next(self._numbers), operation, at, time.monotonic()))
            self._stopped[stopped.held.id] = stopped
        stopped.told.wait()
        return not stopped.dropped

    def release(self, held_id: int | None, *, drop: bool) -> None:
        """Tells a held request, or all, to go on or to be dropped. Raises ValueError where none has that id."""
        with self._lock:
            if held_id is not None and held_id not in self._stopped:
                raise ValueError(f"no request is held as {held_id!r}; there are {', '.join(map(str, self._stopped))}")
            for chosen in list(self._stopped) if held_id is None else [held_id]:
                self._stopped.pop(chosen).tell(drop=drop)

    def clear(self, *, drop: bool) -> None:
        """Forgets the holds, and releases all that they have stopped."""
        with self._lock:
            self._armed.clear()
        self.release(None, drop=drop)

    def held(self) -> list[Held]:
        """The requests that are held, in the order in which they were stopped."""
        with self._lock:
            return [stopped.held for stopped in self._stopped.values()]

    def listing(self) -> list[dict[str, object]]:
        """What is armed, in plain values."""
        with self._lock:
            return [{"on": on, "at": at, "times": times} for on, at, times in self._armed]

    def _take(self, operation: str, at: str) -> bool:
        if operation not in self._operations:
            return False
        for place, (on, moment, times) in enumerate(self._armed):
            if on in (None, operation) and moment == at:
                self._armed[place : place + 1] = [] if times == 1 else [(on, moment, times and times - 1)]
                return True
        return False
