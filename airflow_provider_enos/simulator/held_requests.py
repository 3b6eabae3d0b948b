"""Hold requests at a given moment until they are released: to look at the state then, or to drop the request.

| moment     | what has happened                                                                    |
| ---------- | ------------------------------------------------------------------------------------ |
| `received` | the request was read, and not executed. If it is dropped, EnOS never executes it     |
| `accepted` | EnOS has executed it, and not replied. If it is dropped, there is no reply           |
| `replied`  | the reply is sent. If it is dropped, the connection is closed after the reply        |

Only operations that change something are ever `accepted`. A request whose client has gone is held like any other.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field

from airflow_provider_enos.simulator.config import OneOf, checked_operation, checked_times

MOMENTS = ("received", "accepted", "replied")


@dataclass(frozen=True)
class HeldRequest:
    """A request that is held."""

    id: int
    on: str
    at: str
    since: float
    """When it was stopped, by the monotonic clock."""


@dataclass
class _Waiting:
    held: HeldRequest
    released: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False

    def release(self, *, drop: bool) -> None:
        self.dropped = drop
        self.released.set()


class HoldRegistry:
    """The holds that are armed, and the requests that are held. Any thread may call it."""

    def __init__(self, operations: frozenset[str], writing: frozenset[str]) -> None:
        self._operations = operations
        self._writing = writing
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._armed: list[tuple[str | None, str, int | None]] = []
        self._waiting: dict[int, _Waiting] = {}

    def add(self, on: str | None, at: str, times: int | None) -> None:
        """Arm a hold. Raise ValueError, with what exists, for an unknown operation or moment."""
        checked_operation(on, self._operations)
        try:
            OneOf(*MOMENTS)(at)
        except ValueError as error:
            raise ValueError(f"a hold is at {error}, not {at!r}") from None
        if at == "accepted" and on is not None and on not in self._writing:
            raise ValueError(f"{on!r} changes nothing, so it is never accepted; hold it at received or replied")
        with self._lock:
            self._armed.append((on, at, checked_times(times)))

    def wait(self, operation: str, at: str) -> bool:
        """Wait until the request is released, if a hold stops it. Return False if it is to be dropped."""
        with self._lock:
            if not self._take(operation, at):
                return True
            waiting = _Waiting(HeldRequest(next(self._numbers), operation, at, time.monotonic()))
            self._waiting[waiting.held.id] = waiting
        waiting.released.wait()
        return not waiting.dropped

    def release(self, held_id: int | None, *, drop: bool) -> None:
        """Let a held request go on, or drop it; None: all of them. Raise ValueError for an unknown id."""
        with self._lock:
            if held_id is not None and held_id not in self._waiting:
                raise ValueError(f"no request is held as {held_id!r}; there are {', '.join(map(str, self._waiting))}")
            for chosen in list(self._waiting) if held_id is None else [held_id]:
                self._waiting.pop(chosen).release(drop=drop)

    def clear(self, *, drop: bool) -> None:
        """Forget the holds, and release all held requests."""
        with self._lock:
            self._armed.clear()
        self.release(None, drop=drop)

    def held(self) -> list[HeldRequest]:
        """Return the held requests, in the order in which they stopped."""
        with self._lock:
            return [waiting.held for waiting in self._waiting.values()]

    def listing(self) -> list[dict[str, object]]:
        """Return the armed holds, in plain values."""
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
