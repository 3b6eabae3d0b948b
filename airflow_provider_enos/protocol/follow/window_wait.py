"""Which instances a flow has in a window of trigger times, and what they mean together.

For waits for what EnOS's own schedule starts, whose ids are not known beforehand. As in ``waiting``, each wait tells a
watch what it sees, so that waits in a worker and in the triggerer cannot disagree.

Times count by the minute, as everywhere in EnOS. Which instances lie in a window is always asked of EnOS and never told
from an answer: the zone of the times in it is not documented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosConfigError,
    EnosError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosRequestError,
    EnosTriggerTargetError,
)
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.deadline import within
from airflow_provider_enos.protocol.follow.poll_tolerance import Patience, is_refusal
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.text import shown
from airflow_provider_enos.protocol.trigger_time import MINUTE, minute_of, minute_of_id, moment, to_iso
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager, all_entries

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowInstance

Instances = Literal["all", "any", "latest"]
"""Which of the instances in a window have to end well."""

DEFAULT_ALLOWED = ("SUCCESS",)
DEFAULT_FAILED = ("FAIL", "INTERNAL_ERROR", "TIMEOUT", "CANCEL")
DEFAULT_SKIPPED = ("SKIP",)

PERIODIC = 1
"""The type under which List Flow Instances has what EnOS's schedule starts."""
_NAMED = 5
"""How many instances a line of the log names."""


@dataclass(frozen=True, slots=True)
class Window:
    """Trigger times from ``first`` up to, but not including, ``end``: epoch milliseconds."""

    first: int
    end: int

    @classmethod
    def between(cls, start: Any, end: Any, *, shift: float = 0.0) -> Window:
        """The minutes after that of ``start``, up to and including that of ``end``; where these are one, that minute.

        So the windows of data intervals that follow each other have each trigger time once. ``start`` and ``end`` are
        what ``trigger_time.moment`` takes; ``shift`` is how many seconds earlier the window lies.

        Raises ``EnosConfigError``, naming ``window_start``, ``window_end`` or ``window_shift``.
        """
        earlier = round(shift * 1000)
        first, last = (
            minute_of(_bound(value, field) - earlier) for value, field in ((start, "window_start"), (end, "window_end"))
        )
        if first < 0:
            raise EnosConfigError("window_shift", f"{shift:g} s", accepted="one that does not lead before 1970")
        if first > last:
            raise EnosConfigError(
                "window_start", f"{to_iso(first)} is after the window's end, {to_iso(last)}", accepted="an earlier time"
            )
        return cls(first if first == last else first + MINUTE, last + MINUTE)

    @property
    def bounds(self) -> tuple[str, str]:
        """What ``between`` makes the same window of again."""
        return to_iso(self.first - MINUTE), to_iso(self.end - MINUTE)

    def __str__(self) -> str:
        first, last = to_iso(self.first), to_iso(self.end - MINUTE)
        return f"at {first}" if first == last else f"from {first} to {last}"


def _bound(value: Any, field: str) -> int:
    if value is None or (isinstance(value, str) and value.strip() in ("", "None")):
        raise EnosConfigError(
            field,
            "it is empty, as the default is for a DAG run without a data interval",
            accepted="a time, or a template of one such as {{ dag_run.run_after }}",
        )
    return moment(value, field)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which instances count, and what their statuses mean."""

    allowed: tuple[FlowStatus, ...]
    failed: tuple[FlowStatus, ...]
    skipped: tuple[FlowStatus, ...]
    instances: Instances
    expected: int
    types: tuple[int, ...]
    scheduled_only: bool

    @classmethod
    def of(
        cls,
        *,
        allowed_statuses: object = DEFAULT_ALLOWED,
        failed_statuses: object = DEFAULT_FAILED,
        skipped_statuses: object = DEFAULT_SKIPPED,
        instances: Instances = "all",
        expected_instances: object = 1,
        types: object = PERIODIC,
        scheduled_only: bool = True,
    ) -> Rules:
        """The rules, checked. Raises ``EnosConfigError``, naming the argument."""
        allowed = arguments.statuses(allowed_statuses, "allowed_statuses")
        failed = arguments.statuses(failed_statuses, "failed_statuses")
        skipped = arguments.statuses(skipped_statuses, "skipped_statuses")
        if not allowed:
            raise EnosConfigError("allowed_statuses", "there is none", accepted="at least one, such as SUCCESS")
        for field, mine, others in (
            ("failed_statuses", failed, {"allowed_statuses": allowed}),
            ("skipped_statuses", skipped, {"allowed_statuses": allowed, "failed_statuses": failed}),
        ):
            for other, theirs in others.items():
                if both := set(mine) & set(theirs):
                    names = ", ".join(sorted(map(str, both)))
                    raise EnosConfigError(field, f"{names} is in {other}, too", accepted="each status in one of them")
        return cls(
            allowed,
            failed,
            skipped,
            arguments.choice(instances, "instances", Instances),
            arguments.number(expected_instances, "expected_instances"),
            flow_types(types, "types"),
            arguments.flag(scheduled_only, "scheduled_only"),
        )

    def to_arguments(self) -> dict[str, Any]:
        """What ``of`` makes the same rules of again, as JSON."""
        return {
            "allowed_statuses": [str(status) for status in self.allowed],
            "failed_statuses": [str(status) for status in self.failed],
            "skipped_statuses": [str(status) for status in self.skipped],
            "instances": self.instances,
            "expected_instances": self.expected,
            "types": list(self.types),
            "scheduled_only": self.scheduled_only,
        }


def flow_types(value: object, field: str) -> tuple[int, ...]:
    """Return ``value``, one or several of the types of instances, in ascending order, none twice.

    Raises ``EnosConfigError``, naming ``field`` and the value.
    """
    several = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    known = [one for one in several if type(one) is int and one in calls.ALL_FLOW_TYPES]
    if not several or len(known) < len(several):
        raise EnosConfigError(
            field, shown(value), accepted="0 (manual), 1 (periodic), 2 (temporary), or several of them"
        )
    return tuple(sorted(set(known)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody waits for: instances of a flow in a window, under rules."""

    flow_id: int
    window: Window
    rules: Rules

    def counts(self, instance: FlowInstance) -> bool:
        """Whether an instance that EnOS lists is of this flow and, if that is wanted, was started by its schedule.

        EnOS matches ids and names loosely, and does not say under which type it lists what was triggered by hand or
        through the API; the ids of these tell.
        """
        triggered = minute_of_id(instance.flow_instance_id) is not None
        return instance.flow_id == self.flow_id and not (self.rules.scheduled_only and triggered)

    def __str__(self) -> str:
        return f"flow {self.flow_id}, trigger times {self.window}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the instances of a window mean together, and the ones that it rests on."""

    outcome: Outcome
    instances: tuple[FlowInstance, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Those of the instances that it rests on."""
        return [instance.flow_instance_id for instance in self.instances]

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.outcome is not Outcome.RUNNING


def judge(rules: Rules, found: Iterable[FlowInstance]) -> Verdict:
    """What ``found``, in order of their trigger times, means.

    ``all``: one that failed fails at once; the rest waits until every one is decided and as many as expected are there,
    so that the verdict does not depend on when somebody looks. ``any``: succeeds with as many allowed ones as expected,
    and fails or is skipped only when none is left to hope for. ``latest``: the last one, once as many as expected are
    there. A status in none of the sets decides nothing: an instance that has ended may be run again.
    """
    there = tuple(found)
    enough = len(there) >= rules.expected
    if rules.instances == "latest":
        there = there[-1:] if enough else ()
    allowed, failed, skipped = (
        tuple(instance for instance in there if instance.status in statuses)
        for statuses in (rules.allowed, rules.failed, rules.skipped)
    )
    decided = enough and len(allowed) + len(failed) + len(skipped) == len(there)
    if rules.instances == "any":
        if len(allowed) >= rules.expected:
            return Verdict(Outcome.SUCCEEDED, allowed)
        if not decided:
            return Verdict(Outcome.RUNNING)
    if failed:
        return Verdict(Outcome.FAILED, failed)
    if not decided:
        return Verdict(Outcome.RUNNING)
    return Verdict(Outcome.SKIPPED, skipped) if skipped else Verdict(Outcome.SUCCEEDED, allowed)


class FlowWatch:
    """What one wait for a window has seen. Logs changes, never a look that brings nothing new.

    :param tolerance: seconds for which looks may fail one after the other.
    :param check_existence: whether to ask EnOS for the flow once, if its window is empty.
    :param gives_up: as ``Patience`` has it.
    """

    __slots__ = ("_log", "_said", "checks_flow", "listed", "patience", "wanted")

    def __init__(
        self,
        wanted: Wanted,
        *,
        tolerance: float,
        log: Log,
        check_existence: bool = True,
        gives_up: bool = True,
    ) -> None:
        self.wanted = wanted
        self.checks_flow = check_existence
        """Whether the flow is still to be asked for."""
        self.listed: dict[str, FlowStatus] | None = None
        """What the list showed in the window at the last look; None where that is not all that counted."""
        self.patience = Patience(str(wanted), tolerance=tolerance, log=log, gives_up=gives_up)
        self._log = log
        self._said: str | None = None

    @property
    def memory(self) -> dict[str, Any]:
        """What it knows, as JSON: for a wait that goes on in another process."""
        return {
            "wanted": str(self.wanted),
            "answered": self.patience.known,
            "checks_flow": self.checks_flow,
            "failing_since": self.patience.failing_since,
            "said": self._said,
        }

    def remember(self, memory: object) -> None:
        """Takes up what another watch of the same window knew; anything else is passed over."""
        if not isinstance(memory, dict) or memory.get("wanted") != str(self.wanted):
            return
        said = memory.get("said")
        self.patience.known = memory.get("answered") is True
        self.checks_flow = self.checks_flow and memory.get("checks_flow") is not False
        self.patience.remember(memory.get("failing_since"))
        if isinstance(said, str):
            self._said = said

    def saw(self, found: Iterable[FlowInstance], now: float) -> None:
        """A look brought these."""
        self.patience.answered(now)
        there = tuple(found)
        said = _summary(there)
        if said == self._said:
            return
        self._said = said
        self._log.info("Waiting for %s: %s", str(self.wanted), said)
        for status in dict.fromkeys(str(one.status) for one in there if not one.status.known):
            self._log.warning("EnOS does not document the status %s", status)

    def saw_flow(self, flow: Flow | None) -> None:
        """EnOS has the flow; None where it does not let this user see it."""
        self.checks_flow = False
        if flow is not None and not flow.active:
            self._log.warning("The schedule of flow %s is paused in EnOS: it starts nothing", self.wanted.flow_id)

    def missed(self, error: EnosError, now: float) -> None:
        """Note that a look brought this error. Raise it, or ``EnosPollLostError``, if the wait cannot go on."""
        self.listed = None
        lasted = self.patience.missed(error, now)
        if lasted is not None:
            raise self.lost(f"could not be asked for {lasted:.0f} s", error) from error

    def lost(self, said: str, error: EnosError) -> EnosPollLostError:
        """Return the error of a wait that ends without a verdict, since EnOS could not be asked; ``said`` of EnOS."""
        return EnosPollLostError(f"{self.wanted}: EnOS {said}. Last error: {error}", flow_instance_id="")

    def out_of_time(self) -> EnosFlowTimeoutError:
        """Return the error of a wait that is over before there is a verdict."""
        said = self._said or "unknown"
        return EnosFlowTimeoutError(
            f"{self.wanted}: not as it should be in the time given to it: {said}", flow_instance_id="", status=said
        )


def _summary(found: tuple[FlowInstance, ...]) -> str:
    if not found:
        return "no instance yet"
    if len(found) <= _NAMED:
        return ", ".join(f"{one.flow_instance_id} {one.status}" for one in found)
    counted = Counter(str(one.status) for one in found)
    return f"{len(found)} instances, " + ", ".join(f"{number} {status}" for status, number in sorted(counted.items()))


def wait(watch: FlowWatch, *, poll_interval: float, deadline: float, clock: Callable[[], float]) -> Procedure[Verdict]:
    """Look until there is a verdict, and return it. Raise ``EnosFlowTimeoutError`` at the ``deadline``."""
    while True:
        verdict = yield from look(watch, clock=clock, deadline=deadline)
        if verdict is not None and verdict.over:
            return verdict
        left = deadline - clock()
        if left <= 0:
            raise watch.out_of_time()
        yield Sleep(min(poll_interval, left))


def look(
    watch: FlowWatch, *, clock: Callable[[], float], deadline: float = inf, raises_refusals: bool = False
) -> Procedure[Verdict | None]:
    """Look once: return the verdict, or None where an error is tolerated.

    Raise ``EnosFlowTimeoutError`` where the look itself lasts beyond the ``deadline``, in epoch seconds.

    :param raises_refusals: whether a refusal is raised without asking the watch: for a caller that reads the connection
        again itself, and tells the watch then.
    """
    return within(deadline, _look(watch, clock, raises_refusals), clock=clock, late=watch.out_of_time)


def _look(watch: FlowWatch, clock: Callable[[], float], raises_refusals: bool) -> Procedure[Verdict | None]:
    try:
        return (yield from sight(watch, clock=clock))
    except EnosError as error:
        if raises_refusals and is_refusal(error):
            watch.listed = None
            raise
        watch.missed(error, clock())
        return None


def sight(watch: FlowWatch, *, clock: Callable[[], float]) -> Procedure[Verdict]:
    """Look once, and raise whatever comes instead of a verdict."""
    listed = yield from find(watch.wanted)
    # From now on an answer that there is nothing is tolerated, too.
    watch.patience.known = True
    if not listed and watch.checks_flow:
        watch.saw_flow((yield from _existing(watch.wanted.flow_id)))
    found = yield from _with_failures_read(watch.wanted.rules, listed)
    shown = {one.flow_instance_id: one.status for one in listed}
    watch.listed = shown if all(shown[one.flow_instance_id] == one.status for one in found) else None
    watch.saw(found, clock())
    return judge(watch.wanted.rules, found)


def find(wanted: Wanted) -> Procedure[list[FlowInstance]]:
    """The instances that count, in order of their trigger times."""
    listed = yield from instances_in(wanted.window, wanted.rules.types, wanted.flow_id)
    # As texts: whatever their zone is, it is the same for all.
    return sorted(filter(wanted.counts, listed), key=lambda one: (one.trigger_time or "", one.flow_instance_id))


def instances_in(window: Window, types: Iterable[int], flow_id: int) -> Procedure[list[FlowInstance]]:
    """The instances of a flow in a window that EnOS lists under these types, whatever their status."""
    found: dict[str, FlowInstance] = {}
    for type in types:
        # The id of the flow is a part of the ids of its instances.
        listed = yield from all_entries(partial(_page, type, window, str(flow_id)))
        found.update((one.flow_instance_id, one) for one in listed if one.flow_id == flow_id)
    return list(found.values())


def overview(
    window: Window, types: Iterable[int], flow_ids: Iterable[int], *, most_pages: int
) -> Procedure[list[tuple[int, int, FlowInstance]] | None]:
    """Instances of all these flows in a window, without their nodes, each with its type and flow; None where that takes
    more pages than it may.
    """
    wanted = set(flow_ids)
    expression = str(*wanted) if len(wanted) == 1 else ""
    found: list[tuple[int, int, FlowInstance]] = []
    for type in types:
        pager = Pager(partial(_page, type, window, expression))
        while not pager.done:
            if most_pages <= 0:
                return None
            most_pages -= 1
            try:
                page = yield pager.call
            except EnosApiError as error:
                pager.refused(error)
            else:
                fresh = pager.take(page)
                found += [(type, one.flow_id, one) for one in fresh if one.flow_id in wanted]
    return found


def _page(type: int, window: Window, expression: str, page_no: int) -> Any:
    return calls.list_flow_instances(
        type=type,
        from_trigger_time=window.first,
        to_trigger_time=window.end,
        page_no=page_no,
        page_size=PAGE_SIZE,
        expression=expression,
        nodes=False,
    )


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
    """``listed``, and what the wait would fail for as Get Flow Instance has it, whose word counts more.

    It also has the statuses of the nodes, which the list has not.
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
