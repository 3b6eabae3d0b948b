"""A wait for one flow instance, as the poller sees it."""

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
    """A wait for one flow instance. Times are the event loop's, except ``deadline``: epoch seconds."""

    watch: InstanceWatch
    poll_interval: float
    deadline: float
    reads_end: bool
    """Whether to read an end singly that a list shows, before it counts."""
    result: asyncio.Future[FlowInstance]
    minute: int | None
    """The minute that the instance is named after. None: which lists show it is not known."""
    begun: float
    seen: float
    """When the instance was last known to run."""
    due: float = 0.0
    """When to poll next."""
    context: Context = field(default_factory=copy_context)
    """The context of the task that waits: by it Airflow knows to which task's log a line belongs."""
    type: int | None = None
    """The type under which a list has shown the instance."""
    is_unlisted: bool = False
    """Whether lists that were read to their end did not show the instance."""
    is_asked: bool = False
    """Whether a poll of it is under way."""
    is_urgent: bool = False
    """Whether to poll at once, even if the feed is trusted."""
    claimed: Mark | None = None
    """An end that a list shows, and that still has to be read singly."""
    contradicted: Mark | None = None
    """An end that a list shows, and that a single poll has denied."""
    status: str = "unknown"
    logs: asyncio.Task[EnosError | None] | None = None
    """Shows the new lines in the logs of the nodes."""

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
        """Return whether a list can replace a poll."""
        # Lists do not have the nodes, which a poll has to know to show their logs.
        has_more = self.watch.needs_nodes or self.watch.stream is not None
        return self.minute is not None and not has_more and self.left > 0

    def saw(self, instance: FlowInstance, now: float) -> None:
        """Note what a poll has shown."""
        self.seen, self.status = now, str(instance.status)
        if not self._tell(self.watch.saw, instance):
            return
        if self.watch.is_over(instance):
            self.result.set_result(instance)
        else:
            self.check_deadline()

    def missed(self, error: EnosError) -> None:
        """Note that a poll failed. A refusal ends the wait here: the trigger reads the connection again."""
        if is_refusal(error):
            metrics.count("refusals")
            self.fail(error)
        elif self._tell(self.watch.missed, error):
            self.check_deadline()

    def fail(self, error: Exception) -> None:
        """End the wait."""
        if not self.result.done():
            self.result.set_exception(error)

    def out_of_time(self) -> EnosError:
        """Return the error of a wait whose deadline is over."""
        return out_of_time(self.id, self.status)

    def check_deadline(self) -> None:
        """End the wait if its deadline is over."""
        if self.left <= 0:
            self.fail(self.out_of_time())

    def _tell(self, method: Callable[[Any, float], None], argument: Any) -> bool:
        """Call a method of the watch; return False if the wait is over, or ends with this."""
        if self.result.done():
            return False
        try:
            self.context.run(method, argument, time())
        except Exception as error:  # noqa: BLE001 - not tolerated, or an error of this package: it ends this wait alone
            if isinstance(error, EnosPollLostError):
                metrics.count("lost_polls")
            self.result.set_exception(error)
            return False
        return True
