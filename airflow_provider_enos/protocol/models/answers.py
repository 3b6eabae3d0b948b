"""Replies that are one value: ids, logs, times, tokens."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models.fields import Fields, one, shown
from airflow_provider_enos.protocol.text import is_instance_id, whole_number


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The reply of the token service. ``expire``: seconds for which the token is still valid."""

    value: str
    expire: float

    def __repr__(self) -> str:
        return f"AccessToken(expire={self.expire})"

    @classmethod
    def parse(cls, data: object) -> AccessToken:
        fields = Fields(data, "access token", show_values=False)
        value = fields.text("accessToken")
        if not value.isascii() or not value.isprintable() or not value.strip():
            raise EnosReplyError("access token: accessToken is not a printable text")
        return cls(value=value, expire=float(fields.number("expire")))


def flow_instance_id_of(data: object) -> str:
    """Return the id in the reply to a trigger."""
    flow_instance_id = Fields(data, "answer to the trigger").text("flowInstanceId")
    if not is_instance_id(flow_instance_id):
        raise EnosReplyError(f"answer to the trigger: flowInstanceId: {shown(flow_instance_id)} is no instance id")
    return flow_instance_id


def flow_id_of(data: object) -> int:
    """Return the id in the reply of Import Flow and Save Flow."""
    return Fields(one(data, "answer with a flow"), "answer with a flow").number("flowId")


def directory_id_of(data: object) -> str:
    """Return the id in the reply of Create Directory."""
    fields = Fields(one(data, "answer with a directory"), "answer with a directory")
    directory_id = fields.text("dirId")
    if not directory_id.strip():
        raise fields.wrong("dirId", "the id of a directory", directory_id)
    return directory_id


def log_of(data: object, most: int = sys.maxsize) -> str:
    """Return the text in the reply of Get Task Instance Log; of a longer text, the last ``most`` characters."""
    text = Fields(data, "task instance log").text("log", "")
    return text[max(len(text) - most, 0) :]


def current_time_of(data: object) -> int:
    """Return the epoch milliseconds in the reply of Get Current Time."""
    number = whole_number(data)
    if number is None:
        raise EnosReplyError(f"current time: expected epoch milliseconds, got {shown(data)}")
    return number


def time_zone_of(data: object) -> str:
    """Return the zone in the reply of Get Timezone, such as ``GMT+8``."""
    return Fields(data, "time zone").text("timezone")


def nothing(data: object) -> None:
    """Ignore the reply of an operation that returns nothing of interest."""
