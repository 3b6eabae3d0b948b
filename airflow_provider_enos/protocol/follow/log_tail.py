"""Show the logs of an instance's nodes as they grow.

Each poll reads a log again and shows the lines that have come since: see ``log_place``. What is shown stays within
bounds: a number of logs and lines at each poll, a number of characters of each log. A line says where something is left
out. If much comes at once, only the end of it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosError, EnosNotFoundError
from airflow_provider_enos.protocol.follow.failure_report import EMPTY_LOG, LOG_LENGTH, is_shown_whole, no_log
from airflow_provider_enos.protocol.follow.log_place import Place, advance
from airflow_provider_enos.protocol.models import Outcome
from airflow_provider_enos.protocol.text import clean
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log
    from airflow_provider_enos.protocol.models import FlowInstance, FlowInstanceNode

_LOGS_A_LOOK = 10
_LINES_A_LOOK, _LENGTH_A_LOOK = 200, 20_000
_LONGEST_LINE = 2_000
_LENGTH_A_LOG = 500_000
"""Characters of a node's log after which only its end is shown, once the node has ended."""
_MOST_IN_MEMORY = 200
"""Logs whose places are handed to another process."""
_MOST_PLACES_KEPT = 20_000
"""Logs above which the places of nodes that are gone are dropped."""
_FAULTS = 3

_CUT = f"({LOG_LENGTH:,} characters of a log are read at most: a part of this log may be missing)"
_GAP = "(the log begins anew here, or a part of it is missing)"
_ENOUGH = f"(more than {_LENGTH_A_LOG:,} characters: the end of the log is shown when the node has ended)"


@dataclass(slots=True)
class _Shown:
    """What of one log has been shown."""

    place: Place = field(default_factory=Place)
    length: int = 0
    """Characters."""
    is_cut: int = 0
    """Whether the task's log says already that EnOS does not give all of this log."""
    looks_after_end: int = 0
    """Polls since the node has ended, or since the last poll that has brought new lines."""
    asked: int = 0
    """The number of the poll that has asked for it last."""

    @property
    def is_done(self) -> bool:
        """Return whether all has been shown. It takes two polls, since the last lines may come late."""
        return self.looks_after_end > 1

    def to_json(self) -> list[int]:
        """Return it as small numbers, since they are stored in Airflow's database."""
        place = self.place
        return [place.offset, place.mark, self.length, self.is_cut, self.looks_after_end, self.asked]

    @classmethod
    def of(cls, value: object) -> _Shown | None:
        """Return what ``to_json`` has written; None for anything else."""
        if not isinstance(value, list) or len(value) != 6 or not all(type(number) is int for number in value):
            return None
        offset, mark, *others = (max(number, 0) for number in value)
        return cls(Place(offset, mark), *others)


class LogStream:
    """Show the logs of an instance's nodes in ``log``, each line once."""

    __slots__ = ("_logs", "_looks", "_said_fault", "log")

    def __init__(self, log: Log) -> None:
        self.log = log
        self._logs: dict[str, _Shown] = {}
        self._said_fault = False
        self._looks = 0

    @property
    def memory(self) -> dict[str, Any]:
        """Return how far each log was shown, as JSON: for a wait that goes on in another process."""
        latest = list(self._logs.items())[-_MOST_IN_MEMORY:]
        return {node: shown.to_json() for node, shown in latest}

    def remember(self, memory: object) -> None:
        """Take over the ``memory`` of another stream of the same instance; ignore anything else."""
        for node, value in memory.items() if isinstance(memory, Mapping) else ():
            shown = _Shown.of(value)
            if shown is not None:
                self._logs[str(node)] = shown
                self._looks = max(self._looks, shown.asked)

    def follow(self, instance: FlowInstance) -> Procedure[EnosError | None]:
        """Show what has come in the logs of nodes that run or have just ended.

        Return the error if a log cannot be read. It is logged once, and never ends the wait.
        """
        self._looks += 1
        if len(self._logs) > _MOST_PLACES_KEPT:
            present = {node.task_instance_id for node in instance.nodes}
            self._logs = {node: shown for node, shown in self._logs.items() if node in present}
        due = [node for node in instance.nodes if self._is_due(node)]
        if len(due) > _LOGS_A_LOOK:
            # The logs that were left out the last time come first.
            due.sort(key=lambda node: self._of(node).asked)
        for node in due[:_LOGS_A_LOOK]:
            self._of(node).asked = self._looks
            try:
                text: str = yield calls.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
            except EnosNotFoundError:
                # EnOS says so of a log that has not begun.
                text = ""
            except EnosError as error:
                if not self._said_fault:
                    self.log.warning("Cannot read the log of node %s for now: %s", str(node), error)
                self._said_fault = True
                return error
            self._said_fault = False
            self._show(node, text, final=_has_ended(node))
        return None

    def finish(self, instance: FlowInstance) -> Procedure[dict[str, str]]:
        """Show what has not been shown of an instance that has ended; return the logs of the nodes that failed.

        If the instance ended badly, the failure report shows the ends of those. So they are not shown here if that is
        all there is.
        """
        texts: dict[str, str] = {}
        faults = 0
        for node in instance.nodes:
            failed = node.status is not None and node.status.outcome is Outcome.FAILED
            reported = failed and instance.status.ended_badly
            shown = self._of(node)
            if not node.has_run or (shown.is_done and not failed):
                continue
            if faults == _FAULTS:
                self.log.warning("The logs of the other nodes are not asked for any more")
                break
            try:
                text: str = yield calls.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
                faults = 0
            except EnosError as error:
                faults += not isinstance(error, EnosNotFoundError)
                text = no_log(error)
                is_log = False
            else:
                is_log = bool(text.strip())
                text = text if is_log else EMPTY_LOG
            if failed:
                texts[node.task_instance_id] = text
            if is_log:
                self._show(node, text, final=True, is_reported=reported)
            elif not (reported or shown.length):
                self._print(node, [text])
        return texts

    def _is_due(self, node: FlowInstanceNode) -> bool:
        if not node.has_run or node.status is None:
            return False
        if node.status.working:
            return self._of(node).length < _LENGTH_A_LOG
        return node.status.ended and not self._of(node).is_done

    def _of(self, node: FlowInstanceNode) -> _Shown:
        return self._logs.setdefault(node.task_instance_id, _Shown())

    def _show(self, node: FlowInstanceNode, text: str, *, final: bool, is_reported: bool = False) -> None:
        """Show what is new in a log. Unless it is ``final``, its last line is left for later.

        :param is_reported: whether the failure report will show the end of the log.
        """
        shown, was_shown = self._of(node), self._of(node).length > 0
        fresh, shown.place, is_gap = advance(shown.place, text, final=final)
        lines = _within_bounds(fresh)
        if is_gap:
            lines.insert(0, _GAP)
        if len(text) >= LOG_LENGTH and not shown.is_cut:
            lines.append(_CUT)
            shown.is_cut = 1
        shown.length += sum(len(line) + 1 for line in lines)
        if not final and shown.length >= _LENGTH_A_LOG:
            lines.append(_ENOUGH)
        if not _has_ended(node):
            shown.looks_after_end = 0
        else:
            shown.looks_after_end = 1 if fresh else shown.looks_after_end + 1
        if lines and not (is_reported and len(lines) == len(fresh) and is_shown_whole(lines)):
            self._print(node, lines, ", continued" if was_shown else "")

    def _print(self, node: FlowInstanceNode, lines: list[str], continued: str = "") -> None:
        # Airflow's log page folds what is between these two marks.
        self.log.info("::group::Log of node %s%s", str(node), continued)
        for line in lines:
            self.log.info("%s", line)
        self.log.info("::endgroup::")


def _has_ended(node: FlowInstanceNode) -> bool:
    return node.status is not None and node.status.ended


def _within_bounds(fresh: list[str]) -> list[str]:
    """Return the last of these lines, cleaned, and before them how many are left out."""
    lines: list[str] = []
    length = 0
    for line in reversed(fresh[-_LINES_A_LOOK:]):
        shown = clean(line[: 2 * _LONGEST_LINE])
        shown = shown if len(shown) <= _LONGEST_LINE else shown[:_LONGEST_LINE] + "…"
        length += len(shown) + 1
        if length > _LENGTH_A_LOOK:
            break
        lines.append(shown)
    if left := len(fresh) - len(lines):
        lines.append(f"({left:,} lines are not shown)")
    return lines[::-1]
