"""List Flow Instances as gateways may have it: in memory, with everything that the documentation leaves open."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_enos.errors import EnosApiError, EnosRequestError, EnosServerError
from airflow_provider_enos.protocol.wire.messages import Call

CODES = {"FAIL": -1, "SUCCESS": 1, "RUNNING": 2, "CANCEL": 8, "RERUN": 9}
ENDED = {"FAIL", "SUCCESS", "CANCEL"}
FIELDS = {"end_time": "ended", "endTime": "ended", "create_time": "created", "createTime": "created"}


@dataclass
class Run:
    """An instance. ``ended``: seconds; ``shows_end``: whether the list has an end time for it."""

    id: str
    trigger_time: int
    created: float
    type: int = 0
    status: str = "RUNNING"
    ended: float | None = None
    shows_end: bool = True
    is_hidden: bool = False
    """Whether no list ever shows it."""
    lags: float = 0.0
    """Seconds until the list shows what has become of it."""
    before: str = "RUNNING"
    """What the list shows until then."""


@dataclass
class Lists:
    """What a gateway lists.

    :param page_0: what it says of page 0 where pages start at 1.
    :param cap: the most entries of a page, whatever size is asked for.
    :param offset: whether pages are counted in the size that is asked for, or in the size that is given.
    :param largest: page sizes above are refused.
    :param names: of fields to sort by; others are refused.
    :param sorting: ``none``: it goes by the order of creation, whatever is asked for.
    :param shift: seconds of zone in its texts.
    """

    first_page: int = 1
    page_0: Literal["refused", "fault", "empty", "same"] = "refused"
    cap: int = 10**6
    offset: Literal["asked", "given"] = "given"
    largest: int = 10**6
    names: tuple[str, ...] = ("end_time", "create_time")
    sorting: Literal["asked", "none", "shuffled"] = "asked"
    nulls: Literal["first", "last"] = "last"
    filters: bool = True
    windows: bool = True
    count: Literal["total", "page", "none"] = "total"
    shift: float = 0.0
    runs: dict[str, Run] = field(default_factory=dict)
    now: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def add(self, run: Run) -> Run:
        """One more instance."""
        self.runs[run.id] = run
        return run

    def answer(self, call: Call[Any]) -> Any:
        """Return what this gateway answers, or raise the error of its refusal."""
        body = json.loads(call.body or b"{}")
        self.asked.append(body)
        asked = body["pagination"]
        number, size = asked["pageNo"] - self.first_page, asked["pageSize"]
        if size > self.largest:
            raise refused()
        for sorter in asked.get("sorters", ()):
            if sorter["field"] not in self.names:
                raise refused()
        if number < 0:
            if self.page_0 in ("refused", "fault"):
                raise refused() if self.page_0 == "refused" else fault()
            if self.page_0 == "empty":
                return call.parse({"flowInsts": [], "count": 0})
            number = 0
        found = self._found(body)
        given = min(size, self.cap)
        start = number * (size if self.offset == "asked" else given)
        shown = found[start : start + given]
        counts = {"total": len(found), "page": len(shown)}
        count = {} if self.count == "none" else {"count": counts[self.count]}
        return call.parse({"flowInsts": [self.shown(run) for run in shown], **count})

    def seen(self, run: Run) -> str:
        """Return its status as the list shows it."""
        return run.before if run.ended is not None and self.now < run.ended + run.lags else run.status

    def shown(self, run: Run) -> dict[str, Any]:
        """Return an instance as the list shows it."""
        return {
            "instanceId": run.id,
            "flowId": int(run.id.partition("-")[0]),
            "flowName": "flow",
            "status": CODES[self.seen(run)],
            "endTime": text((run.ended or 0.0) + self.shift) if self._has_end(run) else None,
        }

    def _has_end(self, run: Run) -> bool:
        return run.shows_end and self.seen(run) in ENDED

    def _found(self, body: dict[str, Any]) -> list[Run]:
        codes = set(map(int, body["status"].split(","))) if body["status"] and self.filters else set(CODES.values())
        statuses = {name for name, code in CODES.items() if code in codes}
        first, end = (body["fromTriggerTime"], body["toTriggerTime"]) if self.windows else (0, 10**15)
        type, expression = body["type"], body["expression"]
        # In one plain loop, since a story has thousands of these lists, of thousands of runs.
        found = [
            run
            for run in self.runs.values()
            if run.type == type
            and not run.is_hidden
            and first <= run.trigger_time < end
            and (run.before if run.ended is not None and self.now < run.ended + run.lags else run.status) in statuses
            and expression in run.id
        ]
        if self.sorting == "shuffled":
            random.Random(len(self.asked)).shuffle(found)
        elif self.sorting == "asked":
            for sorter in body["pagination"].get("sorters", ()):
                descending = sorter["order"] == "DESC"
                keys = self._keys(found, FIELDS[sorter["field"]], descending)
                order = sorted(range(len(found)), key=keys.__getitem__, reverse=descending)
                found = [found[position] for position in order]
        return found

    def _keys(self, runs: list[Run], name: str, descending: bool) -> list[float]:
        # To the second, as the texts are: the order within one second is any.
        if name == "created":
            return [float(int(run.created)) for run in runs]
        null = float("inf") if (self.nulls == "first") == descending else float("-inf")
        return [int(run.ended or 0.0) if self._has_end(run) else null for run in runs]


def text(seconds: float) -> str:
    """A time as EnOS writes it, of a day in 2026."""
    whole = int(seconds)
    day, rest = divmod(whole, 86_400)
    return f"2026-01-{1 + day:02} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def refused() -> EnosApiError:
    """The error for everything that it refuses."""
    return EnosRequestError(62102, "Incorrect parameter", operation="List Flow Instances", http_status=200)


def fault() -> EnosApiError:
    """The error of a service that fails for a moment."""
    return EnosServerError(62109, "Internal server exception", operation="List Flow Instances", http_status=200)


def drive(procedure: Any, lists: Lists) -> Any:
    """The result of a procedure that asks these lists."""
    try:
        step = next(procedure)
        while True:
            try:
                answer = lists.answer(step)
            except EnosApiError as error:
                step = procedure.throw(error)
            else:
                step = procedure.send(answer)
    except StopIteration as done:
        return done.value
