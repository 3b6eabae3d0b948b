"""Find the flow of an event trigger by its name, however long that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import TYPE_CHECKING

from airflow_provider_enos.client import timing
from airflow_provider_enos.errors import EnosConfigError, EnosTriggerTargetError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.text import shown
from airflow_provider_enos.protocol.wire.names import Choice, flow_id_of

if TYPE_CHECKING:
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.protocol.log import Log


def flow_choice(flow_id: object, flow_name: object) -> Choice:
    """Return the flow that the two arguments name. Refuse a template, since Airflow renders none for such a trigger.

    :raises EnosConfigError: one of them cannot work, or not exactly one is given.
    """
    if arguments.is_template(flow_name):
        raise EnosConfigError("flow_name", shown(flow_name), accepted="the name itself, since no template is rendered")
    return Choice.of(flow_id, flow_name, "flow")


async def find_flow(
    flow: Choice,
    settings: Callable[[], Awaitable[Settings]],
    log: Log,
    *,
    poll_interval: float,
    tolerance: float,
) -> int:
    """Return the id of the flow. Look a name up again and again until exactly one flow has it.

    Nothing is asked for a flow that is given by its id. No error is raised: each kind of error is logged once as a
    warning, and once as an error if it is met after ``tolerance``.

    :param settings: reads the connection, before each look-up: keys may have changed.
    :param poll_interval: seconds between two look-ups.
    :param tolerance: seconds.
    """
    from airflow_provider_enos.client.polling.shared_poller import SharedPoller

    if flow.id is not None:
        return flow.id
    begun = monotonic()
    said: set[Hashable] = set()
    while True:
        try:
            async with SharedPoller(await settings()) as poller:
                return await poller.run(flow_id_of(flow, log))
        except Exception as error:  # noqa: BLE001 - an error of this package must not end the look-ups silently
            is_late = monotonic() - begun >= tolerance
            # No flow and two flows are one class of errors, but two kinds.
            kind = (is_late, type(error), str(error) if isinstance(error, EnosTriggerTargetError) else "")
            if kind not in said:
                said.add(kind)
                say = log.error if is_late else log.warning
                say("Cannot find the flow named %s, will go on trying: %s", flow, error)
        await asyncio.sleep(timing.poll_pause(poll_interval))
