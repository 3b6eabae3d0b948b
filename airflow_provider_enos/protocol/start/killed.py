"""Cancel the instance of a request whose task was killed before the reply came."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.start.attempts import Intent
from airflow_provider_enos.protocol.start.lookup import can_be_ours, instances_of_minute
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

_PAUSE = 1.0


def cancel_unanswered(
    intent: Intent, *, until: float, clock: Callable[[], float], gateway_clock: Callable[[], float]
) -> Procedure[str | None]:
    """Look for the instance of an unanswered request and cancel it. Return its id; None if no instance appears.

    The request may still be under way, so the look is repeated every second.

    :param until: when to give up, by ``clock``: Airflow gives a killed task about 5 s.
    :param gateway_clock: epoch seconds as the gateway counts them.
    :raises EnosError: EnOS could not be asked, or refused the cancel.
    """
    while True:
        try:
            found = yield from instances_of_minute(intent.flow_id, intent.sent_time)
            for instance in found:
                now = int(gateway_clock() * 1000)
                if instance.status.ended or not (yield from can_be_ours(instance, intent.first_sent, now)):
                    continue
                yield calls.cancel_flow_instance(instance.flow_instance_id)
                return instance.flow_instance_id
            failure: EnosError | None = None
        except EnosError as error:
            failure = error
        if clock() + _PAUSE >= until:
            if failure is not None:
                raise failure
            return None
        yield Sleep(_PAUSE)
