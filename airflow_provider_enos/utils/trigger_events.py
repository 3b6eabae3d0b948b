"""The events with which triggers resume a task, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosError, EnosEventError, from_json, to_json

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.window import Window

ASK_WORKER = {"status": "ask"}
"""The payload with which a worker begins a task that was started in the triggerer."""


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """The wait for an instance has ended, or was cut short by ``error``.

    ``logs`` says how much of the nodes' logs has been shown: see ``LogStream.memory``. ``told`` says what has been
    logged: see ``Watch.told``.
    """

    flow_instance_id: str
    error: EnosError | None = None
    logs: dict[str, Any] | None = None
    told: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the payload of the trigger's event."""
        error = None if self.error is None else to_json(self.error)
        event = {"flow_instance_id": self.flow_instance_id, "status": "error" if error else "ended", "error": error}
        return event | {name: value for name, value in (("logs", self.logs), ("told", self.told)) if value}

    @classmethod
    def of(cls, payload: object) -> InstanceEvent:
        """Return the event with this payload. Raises ``EnosEventError`` if no trigger of this package sends it."""
        if isinstance(payload, dict):
            flow_instance_id, error = payload.get("flow_instance_id"), payload.get("error")
            logs, told = payload.get("logs"), payload.get("told")
            if isinstance(flow_instance_id, str) and flow_instance_id:
                if payload.get("status") == "ended" and error is None:
                    return cls(flow_instance_id, logs=logs, told=told)
                if payload.get("status") == "error":
                    return cls(flow_instance_id, from_json(error), logs, told)
        raise _unknown(payload)


@dataclass(frozen=True, slots=True)
class WindowEvent:
    """The wait for a window of trigger times has ended. ``window`` is None if ``error`` came before it was known.

    ``flow_id`` is the flow, which may have been found by its name; None if it is not known. ``told`` says what has been
    logged: see ``Watch.told``.
    """

    window: Window | None
    error: EnosError | None = None
    flow_id: int | None = None
    told: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the payload of the trigger's event."""
        window = None if self.window is None else [self.window.first, self.window.end]
        error = None if self.error is None else to_json(self.error)
        event = {"window": window, "status": "error" if error else "ended", "error": error}
        return event | {name: value for name, value in (("flow_id", self.flow_id), ("told", self.told)) if value}

    @classmethod
    def of(cls, payload: object) -> WindowEvent:
        """Return the event with this payload. Raises ``EnosEventError`` if no trigger of this package sends it."""
        from airflow_provider_enos.protocol.follow.window import Window

        if isinstance(payload, dict):
            window: Window | None = None
            flow_id, told = payload.get("flow_id"), payload.get("told")
            flow_id = flow_id if type(flow_id) is int else None
            match payload.get("window"):
                case [int(first), int(end)] if first < end:
                    window = Window(first, end)
            if payload.get("status") == "ended" and payload.get("error") is None and window is not None:
                return cls(window, flow_id=flow_id, told=told)
            if payload.get("status") == "error":
                return cls(window, from_json(payload.get("error")), flow_id, told)
        raise _unknown(payload)


def _unknown(payload: object) -> EnosEventError:
    return EnosEventError(f"the task was resumed with an event that its trigger does not send: {repr(payload)[:200]}")
