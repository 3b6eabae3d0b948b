"""Wait for the instances of a flow in a window of trigger times, whose ids are not known beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosRequestError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.protocol.follow.watch import Watch
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_list import instances_in
from airflow_provider_enos.protocol.follow.window_rules import Rules, Verdict, judge
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.trigger_time import minute_of_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure
from airflow_provider_enos.protocol.wire.names import Choice, flow_id_of, quoted

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance

_NAMED = 5
"""Up to this many instances a line of the log names each of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The instances that are waited for: of one flow, in one window, under these rules.

    :param flow_id: the flow; None while its name has not been looked up.
    :param flow_name: the name by which the flow is given; None if it is given by its id.
    """

    flow_id: int | None
    window: Window
    rules: Rules
    flow_name: str | None = None

    def counts(self, instance: FlowInstance) -> bool:
        """Return whether a listed instance counts: it is of this flow and, if wanted, EnOS's schedule started it.

        EnOS matches ids and names loosely, and does not say under which type it lists what was triggered by hand or
        through the API. The ids of such instances name a minute.
        """
        triggered = minute_of_id(instance.flow_instance_id) is not None
        return instance.flow_id == self.flow_id and not (self.rules.scheduled_only and triggered)

    def __str__(self) -> str:
        # The same before and after the name is looked up, since looks of one wait are told by it.
        flow = self.flow_id if self.flow_name is None else f"named {quoted(self.flow_name)}"
        return f"flow {flow}, trigger times {self.window}"


class WindowWatch(Watch[Verdict]):
    """Wait until the instances of a window have a verdict. The first look finds the flow, if it is given by its name.

    :param check_existence: whether to ask EnOS once for the flow if the window is empty.
    """

    __slots__ = ("_said", "checks_flow", "listed", "wanted")

    def __init__(
        self,
        wanted: Wanted,
        *,
        tolerance: float,
        log: Log,
        check_existence: bool = True,
        known: bool = False,
        gives_up: bool = True,
    ) -> None:
        super().__init__(str(wanted), tolerance=tolerance, log=log, known=known, gives_up=gives_up)
        self.wanted = wanted
        self.checks_flow = check_existence
        """Whether EnOS still has to be asked for the flow."""
        self.listed: dict[str, FlowStatus] | None = None
        """The statuses that the last poll has listed; None if it failed, or if a single read shows another status."""
        self._said: str | None = None

    @property
    def memory(self) -> dict[str, Any]:
        return {
            "wanted": str(self.wanted),
            "flow_id": self.wanted.flow_id,
            "answered": self.known,
            "checks_flow": self.checks_flow,
            "failing_since": self.tolerance.failing_since,
            "said": self._said,
        }

    def remember(self, memory: object) -> None:
        if not isinstance(memory, dict) or memory.get("wanted") != str(self.wanted):
            return
        said, flow_id = memory.get("said"), memory.get("flow_id")
        if self.wanted.flow_id is None and type(flow_id) is int:
            self.wanted = replace(self.wanted, flow_id=flow_id)
        self.tolerance.known = memory.get("answered") is True
        self.checks_flow = self.checks_flow and memory.get("checks_flow") is not False
        self.tolerance.remember(memory.get("failing_since"))
        if isinstance(said, str):
            self._said = said

    @property
    def told(self) -> dict[str, Any]:
        return {} if self._said is None else {"said": self._said}

    def was_told(self, told: object) -> None:
        if isinstance(told, dict) and isinstance(told.get("said"), str):
            self._said = told["said"]

    def sight(self, *, clock: Callable[[], float]) -> Procedure[Verdict]:
        self.listed = None
        flow_id = yield from self._flow_id()
        listed = yield from find(self.wanted, flow_id)
        # From now on an answer that there is nothing is tolerated, too.
        self.tolerance.known = True
        if not listed and self.checks_flow:
            self.saw_flow((yield from _existing(flow_id)))
        found = yield from _with_failures_read(self.wanted.rules, listed)
        shown = {one.flow_instance_id: one.status for one in listed}
        self.listed = shown if all(shown[one.flow_instance_id] == one.status for one in found) else None
        self.saw(found, clock())
        return judge(self.wanted.rules, found)

    def _flow_id(self) -> Procedure[int]:
        flow_id = self.wanted.flow_id
        if flow_id is None:
            flow_id = yield from flow_id_of(Choice(name=self.wanted.flow_name), self.log)
            self.wanted = replace(self.wanted, flow_id=flow_id)
        return flow_id

    def is_over(self, seen: Verdict) -> bool:
        return seen.over

    def saw(self, found: Iterable[FlowInstance], now: float) -> None:
        """Note that a poll has shown these instances."""
        self.tolerance.answered(now)
        there = tuple(found)
        said = _summary(there)
        if said == self._said:
            return
        self._said = said
        self.log.info("Waiting for %s: %s", str(self.wanted), said)
        for status in dict.fromkeys(str(one.status) for one in there if not one.status.known):
            self.log.warning("EnOS does not document the status %s", status)

    def saw_flow(self, flow: Flow | None) -> None:
        """Note that EnOS has the flow; None: this user may not see it."""
        self.checks_flow = False
        if flow is not None and not flow.active:
            self.log.warning("The schedule of flow %s is paused in EnOS: it starts nothing", self.wanted.flow_id)

    def lost(self, said: str, error: EnosError) -> EnosPollLostError:
        return EnosPollLostError(f"{self.wanted}: EnOS {said}. Last error: {error}", flow_instance_id="")

    def out_of_time(self) -> EnosFlowTimeoutError:
        said = self._said or "unknown"
        return EnosFlowTimeoutError(
            f"{self.wanted}: the wait was not over in the time given to it: {said}", flow_instance_id="", status=said
        )


def find(wanted: Wanted, flow_id: int) -> Procedure[list[FlowInstance]]:
    """Return the instances of the flow that count, in the order of their trigger times."""
    listed = yield from instances_in(wanted.window, wanted.rules.types, flow_id)
    # As texts: whatever their zone is, it is the same for all.
    return sorted(filter(wanted.counts, listed), key=lambda one: (one.trigger_time or "", one.flow_instance_id))


def _summary(found: tuple[FlowInstance, ...]) -> str:
    if not found:
        return "no instance yet"
    if len(found) <= _NAMED:
        return ", ".join(f"{one.flow_instance_id} {one.status}" for one in found)
    counted = Counter(str(one.status) for one in found)
    return f"{len(found)} instances, " + ", ".join(f"{number} {status}" for status, number in sorted(counted.items()))


def _existing(flow_id: int) -> Procedure[Flow | None]:
    """Return the flow, or None where this user may not see it. Raise ``EnosTriggerTargetError`` if there is none."""
    try:
        flow: Flow = yield calls.get_flow(flow_id)
    except EnosNotFoundError as error:
        raise EnosTriggerTargetError(
            f"flow_id: EnOS has no flow {flow_id} ({error}); expected a flow that exists, or check_existence=False"
        ) from error
    except (EnosAccessError, EnosRequestError):
        # More users may list its instances than may see the flow.
        return None
    return flow


def _with_failures_read(rules: Rules, listed: list[FlowInstance]) -> Procedure[list[FlowInstance]]:
    """Return ``listed``, with the instances that would fail the wait as Get Flow Instance shows them.

    Its answer counts more than the list's, and has the statuses of the nodes.
    """
    read: dict[str, FlowInstance] = {}
    verdict = judge(rules, listed)
    if verdict.outcome is Outcome.FAILED:
        for one in verdict.instances:
            try:
                instance: FlowInstance = yield calls.get_flow_instance(one.flow_instance_id)
            except EnosNotFoundError:
                continue
            read[one.flow_instance_id] = instance
            if instance.status in rules.failed and rules.instances != "any":
                # One is enough.
                break
    return [read.get(one.flow_instance_id, one) for one in listed]
