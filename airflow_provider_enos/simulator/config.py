"""The simulator's settings, and a switch for each question that the documentation of EnOS leaves open.

A switch is an attribute that can be set at any time, a keyword of ``EnosSimulator``, ``--switch NAME=VALUE`` on the
command line, and a name in ``POST /_simulator/switches``. An unknown value is refused with a ValueError.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, overload

T = TypeVar("T")

ProgressLike = str | tuple[str, float] | list[Any]
"""``"at_once"``, ``"nodes"``, ``"manual"``, ``("polls", n)``, ``("seconds", s)``, or text such as ``"polls:3"``."""


@dataclass(frozen=True)
class Progress:
    """How instances progress.

    ``at_once``: they end when they start. ``polls``: they end after as many polls. ``seconds``: they end after as
    many seconds. ``nodes``: each node takes the seconds that its flow says. ``manual``: ``finish`` ends them.
    """

    kind: Literal["at_once", "polls", "seconds", "nodes", "manual"]
    amount: float = 0.0

    @classmethod
    def parse(cls, value: object) -> Progress:
        """Parse a ``ProgressLike``. Raise ValueError, with what exists, for anything else."""
        match value.split(":") if isinstance(value, str) else value:
            case Progress() as progress:
                return progress
            case ["at_once" | "nodes" | "manual" as kind]:
                return cls(kind)
            case ["polls" | "seconds" as kind, amount]:
                return cls(kind, _amount(kind, amount))
        raise ValueError(f"progress is at_once, polls:N, seconds:S, nodes or manual, not {value!r}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}" if self.kind in ("polls", "seconds") else self.kind


def _amount(kind: str, value: object) -> float:
    try:
        amount = float(value) if isinstance(value, str) else value
        number = not_negative(amount)
    except ValueError as error:
        raise ValueError(f"progress {kind} takes a number that is not negative, not {value!r}") from error
    if kind == "polls" and not number.is_integer():
        raise ValueError(f"progress polls takes a whole number, not {value!r}")
    return number


class OneOf(Generic[T]):
    """A check that accepts these values only. The type matters: True is not 1."""

    def __init__(self, *choices: T) -> None:
        self.choices = choices

    def __call__(self, value: object) -> T:
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise ValueError(f"one of {', '.join(map(repr, self.choices))}")


LARGEST_NUMBER = 1e9
"""As seconds, 31 years. More is too much for clocks and waits."""


def number(value: object) -> float:
    """Check for a number up to ``LARGEST_NUMBER``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
        raise ValueError("a number")
    return float(value)


def not_negative(value: object) -> float:
    """Check for a number that is not negative."""
    if number(value) < 0:
        raise ValueError("a number that is not negative")
    return number(value)


def positive(value: object) -> float:
    """Check for a number above zero."""
    if number(value) <= 0:
        raise ValueError("a number above 0")
    return number(value)


def checked_operation(on: str | None, operations: frozenset[str]) -> str | None:
    """Return the name of an operation, or None for any. Raise ValueError, with what exists, for an unknown one."""
    if on is not None and on not in operations:
        raise ValueError(f"there is no operation {on!r}; there are {', '.join(sorted(operations))}")
    return on


def checked_times(times: object) -> int | None:
    """Return a number of requests, or None for all. Raise ValueError for anything else."""
    if times is None or (isinstance(times, int) and not isinstance(times, bool) and times >= 1):
        return times
    raise ValueError(f"times is a whole number from 1, or None for ever, not {times!r}")


def zone_name(value: object) -> str:
    """Check for a zone such as ``GMT+8``, the form of Get Timezone."""
    if not isinstance(value, str) or not re.fullmatch(r"GMT[+-](1[0-4]|\d)", value):
        raise ValueError("a zone such as 'GMT+8'")
    return value


class Switch(Generic[T]):
    """A checked attribute of ``Config``."""

    def __init__(self, default: T, about: str, check: Callable[[object], T]) -> None:
        self.default = default
        self.about = about
        self.check = check
        self.choices: tuple[T, ...] = check.choices if isinstance(check, OneOf) else ()

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, config: None, owner: type) -> Self: ...
    @overload
    def __get__(self, config: Config, owner: type) -> T: ...
    def __get__(self, config: Config | None, owner: type) -> T | Self:
        if config is None:
            return self
        value: T = config.__dict__.get(self.name, self.default)
        return value

    def __set__(self, config: Config, value: object) -> None:
        config.__dict__[self.name] = self.checked(value)

    def checked(self, value: object) -> T:
        """Return the value as the switch keeps it. Raise ValueError, with what it takes, for anything else."""
        try:
            return self.check(value)
        except ValueError as error:
            raise ValueError(f"switch {self.name!r} takes {error}, not {value!r}") from None


class SwitchValues(TypedDict, total=False):
    """The switches as keywords."""

    progress: ProgressLike | Progress
    first_page: int
    search_first_page: int
    search_sorters: str
    minute_rule: str
    clock_minute: float
    graph_keys: str
    graph_as: str
    ids_as: str
    data_as: str
    listed_type: int
    refused_token: str
    envelope_http_status: int
    refresh_changes_token: bool
    refresh_revokes_old: bool
    unknown_instance: str
    count_means: str
    request_id: bool
    log_missing_code: int
    log_keeps: str
    log_grows: bool
    replayed_call: str
    id_style: str
    one_at_a_time: bool
    cancel_takes: float
    time_zone: str
    run_times_in: str
    clock_skew: float
    directory_type_as: str
    edit_copy: str
    task_types_as: str
    paused_trigger: str
    import_needs_desc: bool
    omitted_parameters: str
    from_task_follows: str


class Config:
    """The keys, and how the gateway and the service behave."""

    progress = Switch(
        Progress("polls", 2), "how instances progress, unless their flow has a progress of its own", Progress.parse
    )
    first_page = Switch(1, "number of the first page of List Flow Instances", OneOf(0, 1))
    search_first_page = Switch(1, "number of the first page of Search Flow", OneOf(0, 1))
    search_sorters = Switch(
        "either",
        "names of the fields to sort Search Flow by: create_time, createTime, or either",
        OneOf("either", "snake", "camel"),
    )
    minute_rule = Switch(
        "trigger_minute",
        "the minute of 'repeatedly in 1 minute': that of the trigger time, or of the gateway's clock",
        OneOf("trigger_minute", "clock"),
    )
    clock_minute = Switch(60.0, "with minute_rule=clock, how many seconds the minute lasts", not_negative)
    graph_keys = Switch("camel", "key style inside graphs", OneOf("camel", "snake"))
    graph_as = Switch("text", "graphs as JSON text, or as objects", OneOf("text", "object"))
    ids_as = Switch("int", "flow and task ids in replies as numbers or as text", OneOf("int", "str"))
    data_as = Switch("object", "an instance as an object, or as a list of one", OneOf("object", "list"))
    listed_type = Switch(0, "type under which triggered instances are listed", OneOf(0, 1, 2))
    refused_token = Switch(
        "envelope",
        "the reply to an expired token: code 1203, or HTTP 401",
        OneOf("envelope", "http"),
    )
    envelope_http_status = Switch(200, "HTTP status of replies whose code is not 0", OneOf(200, 400))
    refresh_changes_token = Switch(True, "whether Refresh returns another token", OneOf(True, False))
    refresh_revokes_old = Switch(True, "whether the refreshed token is revoked", OneOf(True, False))
    unknown_instance = Switch(
        "error", "the reply of Get Flow Instance to an unknown id", OneOf("error", "null", "empty_list")
    )
    count_means = Switch(
        "total", "the count in a list of instances: all that match, or those on the page", OneOf("total", "page")
    )
    request_id = Switch(False, "whether envelopes carry a requestId", OneOf(True, False))
    log_missing_code = Switch(62109, "code where a task has no log yet", OneOf(62109, 62102))
    log_keeps = Switch("head", "which end of a log maxLength keeps", OneOf("head", "tail"))
    log_grows = Switch(False, "whether the log of a running node grows line by line", OneOf(True, False))
    replayed_call = Switch("refused", "the reply to a repeated signature", OneOf("refused", "accepted"))
    id_style = Switch(
        "documented", "instance ids as documented, which can be predicted, or other ones", OneOf("documented", "other")
    )
    one_at_a_time = Switch(True, "whether a flow runs one instance at a time", OneOf(True, False))
    cancel_takes = Switch(0.0, "seconds from an accepted cancel to the end of the instance", not_negative)
    directory_type_as = Switch("int", "type of a directory as a number or as text", OneOf("int", "str"))
    edit_copy = Switch(
        "temporary",
        "whether Load Flow For Edit shows its temporary copy under an id of its own, or under the flow's",
        OneOf("temporary", "same"),
    )
    task_types_as = Switch("str", "types of exported tasks as text or as numbers", OneOf("str", "int"))
    paused_trigger = Switch(
        "accepted", "the reply to a trigger of a disabled periodic flow", OneOf("accepted", "refused")
    )
    import_needs_desc = Switch(False, "whether Import Flow requires a desc", OneOf(True, False))
    omitted_parameters = Switch(
        "kept",
        "whether an instance keeps the stored values of the parameters that Update And Trigger Flow leaves out",
        OneOf("kept", "dropped"),
    )
    from_task_follows = Switch(
        "all",
        "the relations along which Trigger Flow From Task runs nodes: all of them, or those whose rerun flag is on",
        OneOf("all", "rerun"),
    )
    time_zone = Switch("GMT+8", "zone of the times in replies", zone_name)
    run_times_in = Switch(
        "time_zone",
        "zone of the times at which an instance was created, started and ended: the switch time_zone, or UTC",
        OneOf("time_zone", "utc"),
    )
    clock_skew = Switch(0.0, "seconds the gateway's clock is ahead", number)

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        org_id: str,
        user_id: str,
        token_lifetime: float,
        poseidon: str = "refuse",
        *,
        schedules: bool = False,
    ) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.org_id = org_id
        self.user_id = user_id
        self.token_lifetime = token_lifetime
        self.poseidon = poseidon
        self.schedules = schedules
        """Whether flows with a schedule run by it."""

    @property
    def poseidon(self) -> str:
        """What happens to calls of the vendor's SDK, which nobody but EnOS can verify: ``refuse`` or ``accept``."""
        return self._poseidon

    @poseidon.setter
    def poseidon(self, value: str) -> None:
        if value not in ("refuse", "accept"):
            raise ValueError(f"poseidon is 'refuse' or 'accept', not {value!r}")
        self._poseidon = value

    def switch(self, values: Mapping[str, object]) -> None:
        """Set several switches. Raise ValueError, and set none, if one of them is refused."""
        checked = {name: _switch_named(name).checked(value) for name, value in values.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    @property
    def switch_values(self) -> dict[str, Any]:
        """The value of every switch, in the form that ``switch`` takes."""
        values = {name: getattr(self, name) for name in SWITCHES}
        return {**values, "progress": str(values["progress"])}

    @property
    def zone(self) -> timezone:
        """``time_zone`` as a ``tzinfo``."""
        return timezone(timedelta(hours=int(self.time_zone.removeprefix("GMT"))))

    def now_ms(self) -> int:
        """Return the time of the gateway's clock, in epoch milliseconds."""
        return int((time.time() + self.clock_skew) * 1000)


SWITCHES: Mapping[str, Switch[Any]] = {
    name: switch for name, switch in vars(Config).items() if isinstance(switch, Switch)
}
"""Every switch by name."""


def _switch_named(name: str) -> Switch[Any]:
    if name not in SWITCHES:
        raise ValueError(f"there is no switch {name!r}; there are {', '.join(SWITCHES)}")
    return SWITCHES[name]
