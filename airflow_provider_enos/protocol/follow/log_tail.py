"""Showing the logs of an instance's nodes as they grow.

EnOS gives a log whole, up to as many characters as are asked for, and does not say which end it keeps of one that is
longer. So each look reads it again and shows what has come since: what follows the place up to which it was shown. That
place is where it was if the beginning is kept, and further ahead if the end is; it is known again by the characters in
front of it.

What is shown stays within bounds: so many logs and lines a look, so many characters a log, with a mark where something
is left out. Of much that comes at once the end is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from airflow_provider_enos.errors import EnosError, EnosNotFoundError
from airflow_provider_enos.protocol.follow.failure_report import EMPTY_LOG, LOG_LENGTH, no_log
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
"""Characters of one node's log after which only its end is shown, once the node has ended."""
_MOST_REMEMBERED = 200
_MOST_PLACES = 20_000
"""Lines among which a place is looked for: what a look may cost."""
_MOST_PLACES_KEPT = 20_000
"""Logs that are kept in mind before those go whose nodes are gone."""
_REACH = 256
"""Characters by which a place in a log is known again."""
_FAULTS = 3

_CUT = f"({LOG_LENGTH:,} characters of a log are asked for at the most: a part of this one may be missing)"
_GAP = "(the log begins anew here, or a part of it is missing)"
_ENOUGH = f"(more than {_LENGTH_A_LOG:,} characters: what follows is shown when the node has ended, the end of it)"


@dataclass(slots=True)
class Place:
    """A place in a log, up to which it was shown. Small numbers only: they go into Airflow's database."""

    offset: int = 0
    mark: int = 0
    """A sum of the characters in front of the offset."""

    def find(self, text: str) -> int | None:
        """Where in ``text``, the log as it is now, the place is; None where it is not known again."""
        if self._is_at(text, self.offset):
            return self.offset
        at = len(text)
        for _ in range(_MOST_PLACES):
            at = text.rfind("\n", 0, at)
            if at < 0:
                break
            if self._is_at(text, at + 1):
                return at + 1
        return None

    def move(self, text: str, offset: int) -> None:
        """Makes it that ``offset`` in ``text``."""
        self.offset = offset
        self.mark = _sum(text, offset, _REACH)

    def _is_at(self, text: str, offset: int) -> bool:
        reach = min(self.offset, _REACH)
        return reach <= offset <= len(text) and _sum(text, offset, reach) == self.mark


@dataclass(slots=True)
class _Shown(Place):
    """What of one log has been shown."""

    shown: int = 0
    """Characters."""
    is_cut: int = 0
    """Whether it was said that EnOS does not give all of it."""
    looks_after_end: int = 0
    """How many there were since the node had ended, from the last one on that brought something."""
    asked: int = 0
    """The number of the look at which it was last asked for."""

    @property
    def is_done(self) -> bool:
        """Whether all has been shown; looked at twice, since the last lines may come late."""
        return self.looks_after_end > 1


def _sum(text: str, offset: int, reach: int) -> int:
    return crc32(text[max(offset - reach, 0) : offset].encode(errors="replace"))


class LogStream:
    """What of the logs of an instance's nodes has been shown, by whoever waits for it."""

    __slots__ = ("_looks", "_places", "_said_fault", "log")

    def __init__(self, log: Log) -> None:
        self.log = log
        self._places: dict[str, _Shown] = {}
        self._said_fault = False
        self._looks = 0

    @property
    def memory(self) -> dict[str, Any]:
        """How far each log was shown, as JSON: for a wait that goes on in another process."""
        latest = list(self._places.items())[-_MOST_REMEMBERED:]
        return {node: list(astuple(place)) for node, place in latest}

    def remember(self, memory: object) -> None:
        """Takes up where another stream of the same instance was; anything else is passed over."""
        for node, numbers in memory.items() if isinstance(memory, Mapping) else ():
            if isinstance(numbers, list) and len(numbers) == 6 and all(type(number) is int for number in numbers):
                place = self._places[str(node)] = _Shown(*(max(number, 0) for number in numbers))
                self._looks = max(self._looks, place.asked)

    def follow(self, instance: FlowInstance) -> Procedure[EnosError | None]:
        """One look: shows what has come in the logs of nodes that run or have just ended.

        Gives the error that kept a log from being read: it is said once, and never ends the wait.
        """
        self._looks += 1
        if len(self._places) > _MOST_PLACES_KEPT:
            present = {node.task_instance_id for node in instance.nodes}
            self._places = {node: place for node, place in self._places.items() if node in present}
        due = [node for node in instance.nodes if self._is_due(node)]
        if len(due) > _LOGS_A_LOOK:
            # Whoever was left out the last time comes first.
            due.sort(key=lambda node: self._place_of(node).asked)
        for node in due[:_LOGS_A_LOOK]:
            self._place_of(node).asked = self._looks
            try:
                text: str = yield calls.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
            except EnosNotFoundError:
                # As EnOS says of a log that has not begun.
                text = ""
            except EnosError as error:
                if not self._said_fault:
                    self.log.warning("Cannot read the log of node %s for now: %s", str(node), error)
                self._said_fault = True
                return error
            self._said_fault = False
            self._show(node, text, is_whole=_has_ended(node))
        return None

    def finish(self, instance: FlowInstance) -> Procedure[dict[str, str]]:
        """The instance has ended: shows what has not been shown yet; gives the logs of the nodes that failed."""
        texts: dict[str, str] = {}
        faults = 0
        for node in instance.nodes:
            failed = node.status is not None and node.status.outcome is Outcome.FAILED
            place = self._place_of(node)
            if not node.has_run or (place.is_done and not failed):
                continue
            if faults == _FAULTS:
                self.log.warning("The logs of the other nodes are not asked for any more")
                break
            try:
                text: str = yield calls.get_task_instance_log(node.task_instance_id, LOG_LENGTH)
                faults = 0
            except EnosError as error:
                faults += not isinstance(error, EnosNotFoundError)
                if not place.shown:
                    self._print(node, [no_log(error)])
                text = no_log(error)
            else:
                if text.strip():
                    self._show(node, text, is_whole=True)
                elif not place.shown:
                    self._print(node, [EMPTY_LOG])
                text = text if text.strip() else EMPTY_LOG
            if failed:
                texts[node.task_instance_id] = text
        return texts

    def _is_due(self, node: FlowInstanceNode) -> bool:
        if not node.has_run or node.status is None:
            return False
        if node.status.working:
            return self._place_of(node).shown < _LENGTH_A_LOG
        return node.status.ended and not self._place_of(node).is_done

    def _place_of(self, node: FlowInstanceNode) -> _Shown:
        return self._places.setdefault(node.task_instance_id, _Shown())

    def _show(self, node: FlowInstanceNode, text: str, *, is_whole: bool) -> None:
        """Shows what is new. Unless it ``is_whole``, its last line may go on, and is left for later."""
        place = self._place_of(node)
        if not _has_ended(node):
            place.looks_after_end = 0
        start = place.find(text)
        end = len(text) if is_whole else text.rfind("\n") + 1
        fresh = text[start or 0 : end].splitlines() if text else []
        lines = self._within_bounds(fresh)
        if fresh and start is None:
            lines.insert(0, _GAP)
        if len(text) >= LOG_LENGTH and not place.is_cut:
            lines.append(_CUT)
            place.is_cut = 1
        was_shown = place.shown > 0
        place.shown += sum(len(line) + 1 for line in lines)
        if not is_whole and place.shown >= _LENGTH_A_LOG:
            lines.append(_ENOUGH)
        if _has_ended(node):
            place.looks_after_end = 1 if fresh else place.looks_after_end + 1
        if fresh:
            place.move(text, end)
        if lines:
            self._print(node, lines, ", continued" if was_shown else "")

    @staticmethod
    def _within_bounds(fresh: list[str]) -> list[str]:
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

    def _print(self, node: FlowInstanceNode, lines: list[str], continued: str = "") -> None:
        # Airflow's log page folds what is between these two marks.
        self.log.info("::group::Log of node %s%s", str(node), continued)
        for line in lines:
            self.log.info("%s", line)
        self.log.info("::endgroup::")


def _has_ended(node: FlowInstanceNode) -> bool:
    return node.status is not None and node.status.ended
