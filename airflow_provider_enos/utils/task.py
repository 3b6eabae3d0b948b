"""The base of operators and sensors: the connection and the tenant that they use."""

from __future__ import annotations

from functools import cached_property

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.utils.task_arguments import ArgumentChecks


class EnosTask(ArgumentChecks):
    """The base of operators and sensors, beside Airflow's own.

    Their constructors take the three arguments themselves: Airflow fills in ``default_args`` only for the constructors
    of its own kind of classes.
    """

    ui_color = "#d9f2ee"

    link_may_be_stored = False
    """Whether an earlier process of this try may have stored the task's link to its instance: see ``links.enos``."""

    enos_conn_id: str
    org_id: str | None
    user_id: str | None

    @cached_property
    def hook(self) -> EnosHook:
        """The hook of this task. Raises ``EnosConfigError`` if a rendered argument is not the id of a connection."""
        return EnosHook(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)

    @property
    def _gateway(self) -> str | None:
        """The address of the gateway, if the task has read its connection already. This reads nothing."""
        hook: EnosHook | None = vars(self).get("hook")
        return None if hook is None or hook.last_settings is None else hook.last_settings.base_url
