"""Cancel what a killed task has started."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

# Import here all that a request needs: a signal may come while a later import is half done.
import airflow_provider_enos.client.deadline_adapter  # noqa: F401
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.start.killed import cancel_unanswered
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE

if TYPE_CHECKING:
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.hooks.enos import EnosHook
    from airflow_provider_enos.protocol.log import Log
    from airflow_provider_enos.protocol.start.attempts import Intent

_TIMEOUT, _CONNECT_TIMEOUT = 2.0, 1.0
_SEARCH_SECONDS = 4.0
"""How long to look for an instance: Airflow ends the process of a killed task after 5 s."""


class KillClient:
    """Cancel flow instances from ``on_kill``, which runs in a signal handler that may have interrupted anything.

    So it shares nothing with ``execute``, asks nothing of Airflow, and raises nothing. A cancel is sent once, and once
    more with a new token if the token was refused.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._client: SyncClient | None = None
        self._settings: Settings | None = None

    def prepare(self, hook: EnosHook) -> None:
        """Get ready for a kill with what the connection said when the hook read it last."""
        settings = hook.last_settings
        if settings is None or settings == self._settings:
            return
        client = SyncClient(settings, retry=AT_ONCE, timeout=_TIMEOUT, connect_timeout=_CONNECT_TIMEOUT)
        self._client, self._settings = client, settings
        client.open()

    def cancel(self, flow_instance_id: str, why: str = "The task was killed") -> None:
        """Ask EnOS to cancel the instance. Log the result."""
        if self._client is None:
            return
        try:
            self._client.call(calls.cancel_flow_instance(flow_instance_id))
        except Exception as error:  # noqa: BLE001 - in a signal handler it would be raised at any line
            self._log.error("%s, but cancelling %s failed: %s", why, flow_instance_id, error)
        else:
            self._log.info("%s: asked EnOS to cancel %s", why, flow_instance_id)

    def cancel_unanswered(self, intent: Intent) -> None:
        """Look for the instance of a request that was not answered yet, and cancel it. Log the result."""
        client = self._client
        if client is None:
            return
        until = time() + _SEARCH_SECONDS
        search = cancel_unanswered(intent, until=until, clock=time, gateway_clock=client.gateway.now)
        try:
            cancelled = client.run(search)
        except Exception as error:  # noqa: BLE001 - in a signal handler it would be raised at any line
            self._log.error(
                "The task was killed while it started the flow. Whether there is an instance is not known: %s",
                error,
            )
            return
        if cancelled is None:
            self._log.warning("The task was killed while it started the flow; no instance of it can be seen")
        else:
            self._log.info("The task was killed while it started the flow: asked EnOS to cancel %s", cancelled)
