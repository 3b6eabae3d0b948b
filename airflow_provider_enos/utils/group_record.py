"""What the tasks of a task group know of each other, in the XComs of the group's ``start`` task.

Airflow removes them when ``start`` runs again, so they last as long as the group's round. Each key has one content,
whoever writes it, or belongs to the task of one node: Airflow has no way to change a value that another task may change
at the same time. What all tasks read names its round, since a process of an earlier round may write late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosTriggerError
from airflow_provider_enos.protocol.start.attempts import nothing_sent
from airflow_provider_enos.protocol.start.group import GroupInstance, GroupRequest, GroupStart, NodeSuccess
from airflow_provider_enos.version_compat import AirflowSkipException, state_of, xcom

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log

Nodes = tuple[int, ...] | None
"""The ids of nodes; None for all nodes of the group."""

GROUP_KEY = "enos_group"
_RESTARTS, _TRY = "enos_restarts", "enos_try"
_RESTART, _PASSED, _INTENT, _SUCCESS = "enos_restart", "enos_passed", "enos_intent", "enos_success"


class GroupRecord:
    """The record of one round of a group, from a worker, or from a thread of the triggerer.

    :param task_instance: any task instance of the group.
    :param start_task_id: the id of the ``start`` task.
    """

    def __init__(self, task_instance: Any, start_task_id: str) -> None:
        self._of = {
            "dag_id": task_instance.dag_id,
            "run_id": task_instance.run_id,
            "task_id": start_task_id,
            "map_index": getattr(task_instance, "map_index", -1),
        }
        self.start_task_id = start_task_id

    def begin(self, start: GroupStart) -> None:
        """Begin a round."""
        # Airflow logs an error where a key is read that is not there.
        self._set(_RESTARTS, False)
        self._set(GROUP_KEY, start.to_json())

    def start(self) -> GroupStart:
        """Return what ``start`` has started.

        :raises EnosTriggerError: that is not on record.
        :raises AirflowSkipException: ``start`` was skipped, as by a branch before the group.
        """
        start = GroupStart.from_json(self._get(GROUP_KEY))
        if start is None:
            if self._is_skipped:
                raise AirflowSkipException(f"task {self.start_task_id} was skipped")
            raise nothing_sent(f"the XCom {GROUP_KEY!r} of task {self.start_task_id} is not there; clear that task")
        return start

    @property
    def _is_skipped(self) -> bool:
        # If its state cannot be read, the error says what is missing.
        with suppress(Exception):
            return self._state == "skipped"
        return False

    @property
    def _state(self) -> str | None:
        return state_of(SimpleNamespace(**self._of))

    def is_over(self, flow_instance_id: str) -> bool:
        """Return whether ``start`` was cleared since it, or a task of a node, has started this instance."""
        state = self._state
        if state not in (None, "success"):
            return True
        if state is None and self._get(GROUP_KEY) is None:
            # In Airflow 3.4 a cleared task is a new try at once, which has no XComs yet.
            return True
        return all(one.flow_instance_id != flow_instance_id for one in self.instances(self.start()))

    def is_current(self, start: GroupStart) -> bool:
        """Return whether ``start`` has not begun another round since this one was read."""
        now = GroupStart.from_json(self._get(GROUP_KEY))
        return now is not None and now.first == start.first

    def begin_try(self, node: int, try_number: int) -> None:
        """Note that this try of a node's task has begun. It has to read the record only after that.

        So an earlier try, which Airflow has given up and whose process goes on, either sees this note before it sends
        anything, or has put its request on record for this try to see.

        :raises EnosTriggerError: a later try has begun.
        """
        latest = self._get(f"{_TRY}_{node}")
        if isinstance(latest, int) and latest > try_number:
            raise self._overtaken()
        if latest != try_number:
            self._set(f"{_TRY}_{node}", try_number)

    def check_try(self, node: int, try_number: int) -> None:
        """Raise ``EnosTriggerError`` if ``is_overtaken``."""
        if self.is_overtaken(node, try_number):
            raise self._overtaken()

    def is_overtaken(self, node: int, try_number: int) -> bool:
        """Return whether another try of a node's task has begun since ``begin_try``, or ``start`` has."""
        # An earlier one, too: it was late, and has hidden the note of this one.
        return bool(self._get(f"{_TRY}_{node}") != try_number)

    def _overtaken(self) -> EnosTriggerError:
        return nothing_sent(
            f"since this try has begun, another try of this task has begun, or task {self.start_task_id} was cleared"
        )

    def instances(self, start: GroupStart) -> tuple[GroupInstance, ...]:
        """Return the instances of the round, the oldest first."""
        found, index, round = [start.first], start.first.index + 1, start.first.flow_instance_id
        is_alone = not self._get(_RESTARTS)
        while not is_alone:
            data = self._get(f"{_RESTART}_{index}")
            one = GroupInstance.from_json(data)
            if one is not None and data.get("round") == round:
                found.append(one)
            elif self._get(f"{_PASSED}_{index}") != round:
                break
            index += 1
        return tuple(found)

    def note_restarts(self) -> None:
        """Note that there may be more instances than the first one."""
        if self._get(_RESTARTS) is not True:
            self._set(_RESTARTS, True)

    def note_restart(
        self, start: GroupStart, instance: GroupInstance, after: GroupInstance, *, replaces: bool = False
    ) -> None:
        """Add an instance. The minutes between it and ``after`` are somebody else's, unless they are on record.

        :param replaces: whether to write over what is on record of the instance, since this task has started it.
        """
        ids = () if replaces else [one.flow_instance_id for one in self.instances(start)]
        if instance.flow_instance_id in ids:
            return
        self.note_restarts()
        round = start.first.flow_instance_id
        for index in range(after.index + 1, instance.index):
            self._set(f"{_PASSED}_{index}", round)
        self._set(f"{_RESTART}_{instance.index}", {**instance.to_json(), "round": round})

    def success(self, node: int) -> NodeSuccess | None:
        """Return the success that the task of this node has seen last."""
        return NodeSuccess.from_json(self._get(f"{_SUCCESS}_{node}"))

    def note_success(self, node: int, success: NodeSuccess) -> None:
        """Note that the task of this node has seen it succeed."""
        self._set(f"{_SUCCESS}_{node}", success.to_json())

    def request(self, node: int) -> GroupRequest | None:
        """Return the last request for a further instance that the task of this node has sent, or was to send."""
        return GroupRequest.from_json(self._get(f"{_INTENT}_{node}"))

    def requests(self, nodes: Iterable[int]) -> list[GroupRequest]:
        """Return the last requests of the tasks of these nodes."""
        found = (self.request(node) for node in nodes)
        return [request for request in found if request is not None]

    def intent_state(
        self, node: int, after: GroupInstance, try_number: int, runs_from: Mapping[int | None, Nodes], log: Log
    ) -> IntentState:
        """Return where this try of a node's task records its requests.

        :param runs_from: the nodes that run if the flow is started from a node, or as a whole.
        """
        return IntentState(self, node, after, try_number, runs_from, log)

    def _get(self, key: str) -> Any:
        return xcom().get_one(key=key, **self._of)

    def _set(self, key: str, value: Any) -> None:
        try:
            xcom().set(key=key, value=value, **self._of)
        except Exception:
            # Another task may have written the same at the same time.
            with suppress(Exception):
                if self._get(key) == value:
                    return
            raise


class IntentState:
    """The request of one node's task, as a ``State``: see ``utils.state_store``."""

    place = "an XCom of the group's start task"
    kept = True
    fails = False

    def __init__(
        self,
        record: GroupRecord,
        node: int,
        after: GroupInstance,
        try_number: int,
        runs_from: Mapping[int | None, Nodes],
        log: Log,
    ) -> None:
        self._record = record
        self._node = node
        self._key = f"{_INTENT}_{node}"
        self._after = after
        self._try_number = try_number
        self._runs_from = runs_from
        self._log = log

    def load(self) -> Any:
        """Return the value; None where there is none after this instance."""
        data = self._record._get(self._key)
        is_after = isinstance(data, dict) and data.get("after") == self._after.flow_instance_id
        return data.get("intent") if is_after else None

    def save(self, value: Any) -> bool:
        """Replace the intent. Return False if Airflow cannot store it, or a later try of the task has written one."""
        try:
            if self._record.is_overtaken(self._node, self._try_number):
                self._log.warning("%s is that of a later try of this task", self.place)
                return False
            runs = self._runs_from.get(value.get("from_task_id"))
            request = {"after": self._after.flow_instance_id, "intent": value, "runs": runs and list(runs)}
            self._record._set(self._key, request)
        except Exception as error:  # noqa: BLE001 - whatever Airflow or a backend of XComs raises
            self._log.warning("%s cannot be written: %s", self.place, error)
            return False
        return True

    @property
    def superseded(self) -> bool:
        """Whether another try of the task has begun since this one."""
        try:
            return self._record.is_overtaken(self._node, self._try_number)
        except Exception as error:  # noqa: BLE001 - as above
            self._log.warning("%s cannot be read: %s", self.place, error)
            return True
