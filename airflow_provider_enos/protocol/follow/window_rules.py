"""What the instances in a window of trigger times mean together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.follow.options import (
    DEFAULT_ALLOWED,
    DEFAULT_FAILED,
    DEFAULT_SKIPPED,
    PERIODIC,
    Instances,
)
from airflow_provider_enos.protocol.models import FlowStatus, Outcome

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import FlowInstance


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
        """Return the rules that these arguments of ``EnosFlowSensor`` make.

        :raises EnosConfigError: an argument cannot work; the message names it.
        """
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
            arguments.flow_types(types, "types"),
            arguments.flag(scheduled_only, "scheduled_only"),
        )

    def to_arguments(self) -> dict[str, Any]:
        """Return the arguments, as JSON, from which ``of`` makes the same rules."""
        return {
            "allowed_statuses": [str(status) for status in self.allowed],
            "failed_statuses": [str(status) for status in self.failed],
            "skipped_statuses": [str(status) for status in self.skipped],
            "instances": self.instances,
            "expected_instances": self.expected,
            "types": list(self.types),
            "scheduled_only": self.scheduled_only,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the instances of a window mean together, and the instances that decide it."""

    outcome: Outcome
    instances: tuple[FlowInstance, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Return the ids of the instances that decide it."""
        return [instance.flow_instance_id for instance in self.instances]

    @property
    def over(self) -> bool:
        """Return whether there is nothing left to wait for."""
        return self.outcome is not Outcome.RUNNING


def judge(rules: Rules, found: Iterable[FlowInstance]) -> Verdict:
    """Return what the instances ``found``, in the order of their trigger times, mean together.

    - ``all``: one failed instance fails at once. Otherwise wait until each has a status in one of the sets, and there
      are as many as expected, so that the verdict does not depend on the time of a poll.
    - ``any``: succeed with as many allowed instances as expected. Fail or skip only when each has such a status.
    - ``latest``: the last instance decides, once there are as many as expected.

    A status in none of the three sets decides nothing, even if it is an end: an instance may be run again.
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
