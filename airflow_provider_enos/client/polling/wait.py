"""One instance that somebody waits for, as the poller sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from time import time
from typing import Any

from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.errors import EnosError, EnosPollLostError
from airflow_provider_enos.protocol.follow.end_feed import Mark
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch, out_of_time
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.protocol.models import FlowInstance


@dataclass(eq=False, slots=True)
class Wait:
    """Times are the event loop's, but ``deadline``, which is epoch seconds."""

    watch: InstanceWatch
    poll_interval: float
    deadline: float
    reads_end: bool
    """Whether an end that a list shows is read singly before it counts."""
    result: asyncio.Future[FlowInstance]
    minute: int | None
    """Which its id names. Without one the lists that show it are not known."""
    begun: float
    seen: float
    """When it was last known to run."""
    due: float = 0.0
    """When it is looked at next."""
    context: Context = field(default_factory=copy_context)
    """That of whoever waits: Airflow tells by it to which task's log a line belongs."""
    type: int | None = None
    """Under which a list has shown it."""
    is_unlisted: bool = False
    """Whether lists have been read to their end that did not show it."""
    is_asked: bool = False
    """Whether a look at it is under way."""
    is_urgent: bool = False
    """Whether to look at it at once, whatever the feed is silent about."""
    claimed: Mark | None = None
    """An end that a list shows, and that is read singly before it counts."""
    contradicted: Mark | None = None
    """An end that a list shows, and that is none by the word of a single look."""
    status: str = "unknown"
    logs: asyncio.Task[EnosError | None] | None = None
    """Shows what has come in its logs."""

    @property
    def id(self) -> str:
        """Return the id of the instance."""
        return self.watch.flow_instance_id

    @property
    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time()

    @property
    def may_be_listed(self) -> bool:
        """Return whether a list can answer for it."""
        # Lists do not tell which nodes run, whose logs are to be shown.
        return self.minute is not None and self.watch.stream is None and self.left > 0

    def saw(self, instance: FlowInstance, now: float) -> None:
        """Note what a look brought."""
        self.seen, self.status = now, str(instance.status)
        if not self._told(self.watch.saw, instance):
            return
        if instance.status.ended:
            self.result.set_result(instance)
        else:
            self.check_deadline()

    def missed(self, error: EnosError) -> None:
        """Note that a look failed. A refusal of the connection ends the wait: whoever waits may have a better one."""
        if is_refusal(error):
            metrics.count("refusals")
            self.fail(error)
        elif self._told(self.watch.missed, error):
            self.check_deadline()

    def fail(self, error: Exception) -> None:
        """End the wait."""
        if not self.result.done():
            self.result.set_exception(error)

    def out_of_time(self) -> EnosError:
        """Return the error of a wait that is over before the instance has ended."""
        return out_of_time(self.id, self.status)

    def check_deadline(self) -> None:
        """End the wait if its time is over."""
        if self.left <= 0:
            self.fail(self.out_of_time())

    def _told(self, what: Callable[[Any, float], None], about: Any) -> bool:
        """Tell the watch; return False where the wait is over, or is now."""
        if self.result.done():
            return False
        try:
            self.context.run(what, about, time())
        except Exception as error:  # noqa: BLE001 - what cannot be waited through, or a fault of ours: this wait's alone
            if isinstance(error, EnosPollLostError):
                metrics.count("lost_polls")
            self.result.set_exception(error)
            return False
        return True
