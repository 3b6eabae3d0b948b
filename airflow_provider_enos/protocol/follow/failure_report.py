"""Report why an instance failed or was cancelled: at length for a log, in one line for a notification.

``examine`` makes the report. ``node_table``, ``failed_first`` and ``last_meaningful_line`` are its parts, for other
ways to show an instance. All texts that they return are cleaned.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from airflow_provider_enos.errors import (
    EnosError,
    EnosFlowCancelledError,
    EnosFlowError,
    EnosFlowFailedError,
    EnosNotFoundError,
)
from airflow_provider_enos.protocol.follow.time_zone import zone_of_times
from airflow_provider_enos.protocol.models import FlowStatus, Outcome
from airflow_provider_enos.protocol.models.instances import time_of
from airflow_provider_enos.protocol.start.recovery import NoRestart, Restart, rerun_line, rerun_of
from airflow_provider_enos.protocol.text import clean, excerpt, tail
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceNode, TaskInstance

LOG_LENGTH = 2**20
"""Characters of a log to ask for: EnOS's own default."""

_MOST_RUNS, _MOST_LOGS, _MOST_ROWS = 40, 20, 100
_FAULTS = 3
"""After this many failed calls in a row, no more calls of their kind are made."""
_SHOWN_LINES, _SHOWN_LENGTH = 40, 8_000
_NODES_IN_MESSAGE = 3
_FIRST_LINE, _OTHER_LINE = 300, 100
_LONGEST_MESSAGE, _LONGEST_LINK = 1_600, 2_000
_CLOCK = "EnOS"
"""Marks times as EnOS's, next to Airflow's own at the beginning of each line of its log."""

_RULER = re.compile(r"[\W_]*")
_LONGEST_HEAD = 12
_LOOKED_AT, _LOOKED_INTO = 200, 1_000
_TRACEBACK = "Traceback (most recent call last)"
_CLASS = re.compile(r"\w(Error|Exception)\b")
_ERROR = re.compile(r"\b(error|exception|fatal|critical|severe|panic|failed|failure|caused by)\b|错误|异常|失败", re.I)
_NO_ERROR = re.compile(r"\b(no|0|zero|without)\s+(errors?|exceptions?|failures?|failed)\b", re.I)
_FRAME = re.compile(r"\s*(at |File \"|\.\.\. \d+ more|[~^]+$)")
_LAST_WORDS = re.compile(
    r"\bexit(ed|ing|s)?\b.{0,60}\b(code|status)\b|\bexit(ed)?\W*-?\d+\s*$|\breturn code\b"
    r"|\bend of (the )?(log|output)\b|^\W*(end|done|finished)\W*$",
    re.I,
)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as a row of a table. Times are texts as EnOS sends them, empty if unknown."""

    task_id: str
    task_name: str
    task_instance_id: str
    status: str
    start_time: str
    end_time: str


def node_table(instance: FlowInstance, task_instances: Mapping[str, TaskInstance]) -> list[NodeRow]:
    """Return a row for each node, in the order of the graph, with the times of ``task_instances`` (by id)."""
    return [_row(node, task_instances.get(node.task_instance_id)) for node in instance.nodes]


def _row(node: FlowInstanceNode, run: TaskInstance | None) -> NodeRow:
    return NodeRow(
        task_id="" if node.task_id is None else str(node.task_id),
        task_name=excerpt(node.task_name, 60),
        task_instance_id=excerpt(node.task_instance_id, 60),
        status="" if node.status is None else str(node.status),
        start_time=excerpt((run and run.start_time) or "", 30),
        end_time=excerpt((run and run.end_time) or "", 30),
    )


def table_lines(rows: Iterable[NodeRow], clock: str = _CLOCK) -> list[str]:
    """Return the rows as aligned lines, below a line of headings. ``clock`` says whose times they are."""
    lines = [("node", "task instance", "status", f"start ({clock})", f"end ({clock})")]
    lines += [(row.task_name, row.task_instance_id, row.status, row.start_time, row.end_time) for row in rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(_padded, line, widths)).rstrip() for line in lines]


def _padded(cell: str, width: int) -> str:
    return (cell or "-") + " " * (width - _width(cell or "-"))


def _width(text: str) -> int:
    """Return the columns that a text takes on a screen: a Chinese character takes two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text) or 1


def failed_first(instance: FlowInstance, task_instances: Mapping[str, TaskInstance]) -> tuple[FlowInstanceNode, ...]:
    """Return the failed node that ended first, several if they ended in the same second, none if that is unknown.

    The zone of EnOS's times is not documented, but the same field of several nodes can be compared.
    """
    failed = instance.nodes_with(Outcome.FAILED)
    if len(failed) < 2:
        return failed
    ends = [_end(task_instances.get(node.task_instance_id)) for node in failed]
    known = [end for end in ends if end is not None]
    if len(known) < len(failed):
        return ()
    return tuple(node for node, end in zip(failed, ends, strict=True) if end == min(known))


def _end(run: TaskInstance | None) -> datetime | None:
    return time_of(run.end_time if run else None)


def last_meaningful_line(text: str, length: int = _FIRST_LINE) -> str:
    """Return the line of a log that says best why it ended, cleaned, at most ``length`` long; empty if there is none.

    That is the last line that looks like an error: it names one (ERROR, ``...Exception``, failed), or it ends a Python
    traceback. If there is none, return the last line. Blank lines, rulers, EnOS's head, stack frames and last words
    such as "exit code 1" count only if there is nothing else. The last 200 lines are searched.
    """
    last = telling = error = ""
    in_traceback = False
    for whole_line in _without_head(text.splitlines())[-_LOOKED_AT:]:
        line = clean(whole_line[:_LOOKED_INTO])
        if _RULER.fullmatch(line):
            continue
        ends_traceback = in_traceback and not line.startswith(" ")
        in_traceback = line.startswith(_TRACEBACK) or (in_traceback and not ends_traceback)
        last = line
        if ends_traceback or not (_FRAME.match(line) or _is_last_word(line)):
            telling = line
            error = line if ends_traceback or _names_error(line) else error
    return excerpt(error or telling or last, length)


def _without_head(lines: list[str]) -> list[str]:
    """Return what follows the head, the lines between two rulers in which EnOS says what it runs."""
    rulers = [number for number, line in enumerate(lines[:_LONGEST_HEAD]) if line.strip() and not line.strip("= \t")]
    return lines[rulers[1] + 1 :] if len(rulers) > 1 and rulers[0] == 0 else lines


def _names_error(line: str) -> bool:
    return (_CLASS.search(line) or _ERROR.search(line)) is not None and not _NO_ERROR.search(line)


def _is_last_word(line: str) -> bool:
    return _LAST_WORDS.search(line) is not None and not _CLASS.search(line)


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Why an instance failed or was cancelled.

    :param logs: by task instance id: the log, or the reason in brackets why there is none.
    :param notes: what was left out.
    :param clock: whose times they are, with the zone if it is known.
    """

    instance: FlowInstance
    task_instances: Mapping[str, TaskInstance]
    logs: Mapping[str, str]
    notes: tuple[str, ...]
    link: str | None = None
    clock: str = _CLOCK

    @property
    def failed(self) -> tuple[FlowInstanceNode, ...]:
        """Return the failed nodes: first those that failed first, if that is known; then in the order of the graph."""
        first = self.failed_first
        return first + tuple(node for node in self.instance.nodes_with(Outcome.FAILED) if node not in first)

    @property
    def rerun(self) -> Restart | NoRestart:
        """Return the node from which a rerun would start, or why there is none."""
        return rerun_of(self.instance)

    @property
    def failed_first(self) -> tuple[FlowInstanceNode, ...]:
        """Return what the function ``failed_first`` returns."""
        return failed_first(self.instance, self.task_instances)

    def lines(self, *, logs: bool = True) -> Iterator[str]:
        """Give the lines for Airflow's log: the nodes, which of them failed first, and the ends of their logs.

        Airflow's log page folds what is between the marks ``::group::`` and ``::endgroup::``. The log of the node that
        failed first comes last and is not folded, since the page opens at its end.
        """
        instance = self.instance
        yield f"::group::Nodes of flow instance {excerpt(instance.flow_instance_id)}: {instance.status}"
        yield from self._table()
        yield from self.notes
        yield "::endgroup::"
        if self.failed:
            yield f"Failed first: {self._who_failed_first()}"
        yield rerun_line(self.rerun)
        if logs:
            yield from self.ends_of_logs()

    def ends_of_logs(self) -> Iterator[str]:
        """Give the ends of the logs of failed nodes; that of the node that failed first comes last, not folded."""
        told = [node for node in self.failed if node.task_instance_id in self.logs]
        for node in told[1:]:
            yield f"::group::End of the log of node {node}"
            yield from self._end_of_log(node)
            yield "::endgroup::"
        for node in told[:1]:
            yield f"End of the log of node {node}:"
            yield from self._end_of_log(node)

    def _end_of_log(self, node: FlowInstanceNode) -> list[str]:
        return tail(self.logs[node.task_instance_id], _SHOWN_LINES, _SHOWN_LENGTH).splitlines()

    def _table(self) -> Iterator[str]:
        nodes = list(self.instance.nodes)
        if len(nodes) > _MOST_ROWS:
            nodes = [node for node in nodes if _is_telling(node)][:_MOST_ROWS]
        shown = [_row(node, self.task_instances.get(node.task_instance_id)) for node in nodes]
        yield from table_lines(shown, self.clock)
        if left := len(self.instance.nodes) - len(nodes):
            others = Counter(str(node.status or "none") for node in self.instance.nodes)
            others.subtract(row.status or "none" for row in shown)
            yield f"and {left} more: " + ", ".join(f"{number} {status}" for status, number in (+others).items())

    def _who_failed_first(self) -> str:
        first = self.failed_first
        if not first:
            return "unknown, since EnOS does not tell when each of them ended"
        end = _end(self.task_instances.get(first[0].task_instance_id))
        when = f", at {end} {self.clock}" if end else ""
        shown = ", ".join(str(node) for node in first[:_NODES_IN_MESSAGE])
        more = f" and {len(first) - _NODES_IN_MESSAGE} more" if len(first) > _NODES_IN_MESSAGE else ""
        return f"{shown}{more}{' in the same second' if len(first) > 1 else ''}{when}"

    @property
    def message(self) -> str:
        """Return one line: failed nodes, each with the line of its log that says why; flow, instance and link.

        The reason comes first: where a line is too long for the screen, its end is cut off. The line also names the
        node from which a rerun would start, if there is one.
        """
        instance, failed = self.instance, self.failed
        parts = [
            self._why_failed(node, _OTHER_LINE if number else _FIRST_LINE)
            for number, node in enumerate(failed[:_NODES_IN_MESSAGE])
        ]
        if len(failed) > _NODES_IN_MESSAGE:
            parts.append(f"and {len(failed) - _NODES_IN_MESSAGE} more failed nodes")
        flow = f"flow {instance.flow_id} {excerpt(instance.flow_name, 80)!r}"
        parts.append(f"{flow}: {self._how_ended}")
        if working := instance.working_nodes:
            shown = ", ".join(str(node) for node in working[:_NODES_IN_MESSAGE])
            more = f" and {len(working) - _NODES_IN_MESSAGE} more" if len(working) > _NODES_IN_MESSAGE else ""
            parts.append(f"still running: {shown}{more}")
        if isinstance(self.rerun, Restart) and not self.rerun.provisional:
            parts.append(f"a rerun would start from {self.rerun.node}")
        said = excerpt("; ".join(parts), _LONGEST_MESSAGE)
        return f"{said}; {self.link}" if self.link and len(self.link) <= _LONGEST_LINK else said

    @property
    def reason(self) -> str:
        """Return the shortest line that says why: the node that failed first, and the line of its log."""
        return self._why_failed(self.failed[0], _FIRST_LINE) if self.failed else f"flow {self._how_ended}"

    @property
    def _how_ended(self) -> str:
        return f"instance {excerpt(self.instance.flow_instance_id)} ended with status {self.instance.status}"

    def _why_failed(self, node: FlowInstanceNode, length: int) -> str:
        how = "failed" if node.status is FlowStatus.FAIL else f"ended with status {node.status}"
        text = self.logs.get(node.task_instance_id)
        why = "" if text is None else last_meaningful_line(text, length) or "(the log is empty)"
        return f"node {excerpt(node.task_name, 100)} {how}" + (f": {why}" if why else "")

    def error(self) -> EnosFlowError:
        """Return the error to raise."""
        cancelled = self.instance.status.outcome is Outcome.CANCELLED
        return (EnosFlowCancelledError if cancelled else EnosFlowFailedError)(
            self.message,
            flow_instance_id=self.instance.flow_instance_id,
            status=str(self.instance.status),
            failed_tasks=tuple(str(node) for node in self.instance.nodes_with(Outcome.FAILED)),
            reason=self.reason,
        )


def examine(
    instance: FlowInstance,
    *,
    logs: bool = True,
    link: str | None = None,
    known_logs: Mapping[str, str] | None = None,
    zone_name: str = "",
    now: float = 0.0,
) -> Procedure[FailureReport]:
    """Find out when the nodes of an instance began and ended, and how the logs of failed nodes end.

    Get Task Instance is called once for each node that has begun; in a large graph only for nodes that failed, were
    cancelled or run. A call that fails never hides why the instance failed.

    :param logs: whether to read the logs of failed nodes.
    :param known_logs: logs that were read before, by task instance id.
    :param zone_name: the zone of the gateway, if it is known already, and the time in epoch seconds as ``now``.
    """
    begun = [node for node in instance.nodes if node.has_run]
    asked = begun if len(begun) <= _MOST_RUNS else [node for node in begun if _is_telling(node)][:_MOST_RUNS]
    notes = []
    if instance.nodes_left_out != 0:
        more = "" if instance.nodes_left_out is None else f"{instance.nodes_left_out:,} more "
        notes.append(f"({more}nodes were not read)")
    if len(asked) < len(begun):
        notes.append(f"(times of {len(asked)} of the {len(begun)} nodes that have begun: of those that failed or run)")
    runs = yield from read_runs(asked, notes)
    report = FailureReport(instance, runs, {}, (), link)
    texts = dict(known_logs or {})
    if logs:
        wanted = [node for node in report.failed if node.task_instance_id and node.task_instance_id not in texts]
        texts |= yield from _logs(wanted[:_MOST_LOGS])
        if len(wanted) > _MOST_LOGS:
            notes.append(f"(logs of {_MOST_LOGS} of the {len(wanted)} nodes that failed)")
    return FailureReport(instance, runs, texts, tuple(notes), link, _clock(instance, runs, zone_name, now))


def _clock(instance: FlowInstance, runs: Mapping[str, TaskInstance], zone_name: str, now: float) -> str:
    """Return ``EnOS``, with the zone of the times if it is known: ``EnOS, GMT+8``."""
    times = [time_of(text) for run in runs.values() for text in (run.start_time, run.end_time)]
    known = [time for time in times if time is not None]
    found = zone_of_times(known, instance.flow_instance_id, zone_name, now) if known else None
    return _CLOCK if found is None else f"{_CLOCK}, {excerpt(found[0], 40)}"


def read_runs(nodes: Iterable[FlowInstanceNode], notes: list[str]) -> Procedure[dict[str, TaskInstance]]:
    """Read when these nodes began and ended, by the ids of their task instances. ``notes`` gets what cannot be read."""
    runs: dict[str, TaskInstance] = {}
    faults = 0
    for node in nodes:
        try:
            runs[node.task_instance_id] = yield calls.get_task_instance(node.task_instance_id)
            faults = 0
        except EnosError as error:
            faults += 1
            notes.append(f"(no times of {node}: {excerpt(str(error))})")
            if faults == _FAULTS:
                notes.append("(no times of the nodes after it: EnOS is not asked any more)")
                break
    return runs


def _logs(nodes: Iterable[FlowInstanceNode]) -> Procedure[dict[str, str]]:
    texts: dict[str, str] = {}
    faults = 0
    for node in nodes:
        if faults == _FAULTS:
            texts[node.task_instance_id] = "(no log: EnOS is not asked any more)"
            continue
        try:
            text: str = yield calls.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
            faults = 0
        except EnosError as error:
            # A node that never ran has no log, which EnOS also calls an error.
            faults += not isinstance(error, EnosNotFoundError)
            text = no_log(error)
        texts[node.task_instance_id] = text if text.strip() else EMPTY_LOG
    return texts


EMPTY_LOG = "(the log is empty)"


def is_shown_whole(lines: Sequence[str]) -> bool:
    """Return whether a report shows all of these last lines of a log."""
    return len(lines) <= _SHOWN_LINES and sum(len(line) + 1 for line in lines) <= _SHOWN_LENGTH


def no_log(error: EnosError) -> str:
    """Return the text that replaces a log that could not be read."""
    return f"(no log: {excerpt(str(error), 280)})"


def _is_telling(node: FlowInstanceNode) -> bool:
    """Return whether a node may show why the instance ended badly: it failed, was cancelled, or still runs."""
    ended_badly = node.status is not None and node.status.outcome in (Outcome.FAILED, Outcome.CANCELLED)
    return ended_badly or (node.status is not None and node.status.working)
