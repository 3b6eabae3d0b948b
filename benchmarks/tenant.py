"""The tenant of the benchmark: what the gateway and the waits, each in a process of its own, agree on.

60 % of the trigger times are the last midnight, the others lie anywhere in the last 20 hours, and each wait has a flow
of its own. Others have instances in the same window, most of which ended long ago. 6 % of the waits end each minute,
one after the other, and each is replaced by a new one.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import cached_property

AT_MIDNIGHT = 0.6
HOURS = 20
ENDING = 0.06
"""Of those who wait, each minute."""
OTHERS_RUNNING = 0.1
FIRST_FLOW, FIRST_OTHER_FLOW = 100_000, 5_000_000


@dataclass(frozen=True)
class Tenant:
    """A number of waits, and a number of instances that nobody waits for."""

    waits: int
    others: int
    now: float
    """Epoch seconds of its beginning."""

    @cached_property
    def midnight(self) -> float:
        """The last one."""
        return self.now - self.now % 86_400

    def trigger_time(self, number: int) -> float:
        """The trigger time of an instance, in epoch seconds: the same in each process."""
        luck = random.Random(number)
        if luck.random() < AT_MIDNIGHT:
            return self.midnight
        return (self.now - luck.uniform(0, HOURS * 3600)) // 60 * 60

    def instance_id(self, number: int) -> str:
        """The id of the instance of the wait with this number."""
        return f"{FIRST_FLOW + number}-{stamp(self.trigger_time(number))}"

    def other_id(self, number: int) -> str:
        """The id of an instance that nobody waits for."""
        return f"{FIRST_OTHER_FLOW + number}-{stamp(self.trigger_time(-1 - number))}"

    @property
    def seconds_between_ends(self) -> float:
        """From the end of one wait to the end of the next."""
        return 60 / (self.waits * ENDING)


def stamp(seconds: float) -> str:
    """Return the minute as EnOS writes it in ids."""
    return time.strftime("%Y%m%d%H%M00", time.gmtime(seconds))


def text(seconds: float) -> str:
    """Return a time as EnOS writes it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
