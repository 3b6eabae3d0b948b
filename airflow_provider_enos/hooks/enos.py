"""The connection to an EnOS gateway."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_enos.errors import EnosApiError, EnosConfigError, EnosError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.utils.lazy import LazyModule
from airflow_provider_enos.version_compat import AirflowNotFoundException, BaseHook

if TYPE_CHECKING:
    from airflow_provider_enos.client.connection_check import Step
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.hooks import checked_calls
    from airflow_provider_enos.protocol.models import (
        Directory,
        Flow,
        FlowExport,
        FlowInstance,
        FlowStatus,
        FlowSummary,
        MyFlow,
        TaskInstance,
    )
    from airflow_provider_enos.protocol.wire.messages import Call
    from airflow_provider_enos.protocol.wire.paging import Pager
else:
    checked_calls = LazyModule("airflow_provider_enos.hooks.checked_calls")

__all__ = ["EnosHook"]

T = TypeVar("T")


class EnosHook(BaseHook):
    """Sign and send calls of the EnOS Batch Processing Service v2.1 through the API gateway.

    There is one method for each operation, named after its page in the EnOS documentation. Ids are numbers or digits; a
    trigger time is what ``protocol.trigger_time.parse`` takes. If the connection or an argument cannot work, a method
    raises ``EnosConfigError`` before it sends anything; all other errors are an ``EnosError`` too, see
    ``airflow_provider_enos.errors``. Calls that are safe to repeat are retried with backoff; a trigger is not.

    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's ``org_id``.
    :param user_id: the EnOS user, in place of the connection's ``user_id``.

    :raises EnosConfigError: from the constructor, for an id that no connection has; from everything else, see above.
    """

    conn_name_attr = "enos_conn_id"
    default_conn_name = "enos_default"
    conn_type = "enos"
    hook_name = "EnOS"

    def __init__(
        self,
        enos_conn_id: str = default_conn_name,
        *,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.enos_conn_id = arguments.connection_id(enos_conn_id)
        self.org_id = org_id
        self.user_id = user_id
        self.last_settings: Settings | None = None
        """What the connection said when this hook read it last; None if it has not read it yet."""

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow before 3.2 shows the fields that all connections have."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields for what this connection keeps in ``extra``, for Airflow before 3.2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import BooleanField, StringField

        widgets: dict[str, Any] = {}
        for name, field in CONNECTION_FIELDS.items():
            label, description = field["label"], field["description"]
            if "boolean" in field["schema"]["type"]:
                widgets[name] = BooleanField(label, description=description)
            else:
                widgets[name] = StringField(label, description=description, widget=BS3TextFieldWidget())
        return widgets

    @cached_property
    def settings(self) -> Settings:
        """What the connection says, read and checked once. Raises ``EnosConfigError``."""
        from airflow_provider_enos.client import settings

        connection = self.get_connection(self.enos_conn_id)
        self.last_settings = settings.read(connection, org_id=self.org_id, user_id=self.user_id)
        return self.last_settings

    @cached_property
    def client(self) -> SyncClient:
        """The client of this hook: one HTTP session, and the token of all hooks with this gateway and key.

        It reads the connection when it needs it, and again after a refusal. A connection that cannot be read is an
        ``EnosError`` of the call, so that a wait tolerates it.
        """
        from airflow_provider_enos.client.sync import SyncClient

        return SyncClient(self._settings_instead_of)

    def _settings_instead_of(self, refused: Settings | None) -> Settings:
        """Return what the connection says; read it again where that was ``refused``. Raise only ``EnosError``."""
        if refused is not None:
            vars(self).pop("settings", None)
        try:
            return self.settings
        except EnosError:
            raise
        except Exception as error:
            from airflow_provider_enos.utils.connections import unreadable

            raise unreadable(self.enos_conn_id, error) from error

    def get_conn(self) -> SyncClient:
        """Return ``client``."""
        return self.client

    def run(self, call: Call[T]) -> T:
        """Carry out any call, such as one of ``protocol.wire.calls`` that has no method here."""
        # Where Airflow cannot give the connection, its own error says so.
        _ = self.settings
        return self.client.call(call)

    async def arun(self, call: Call[T]) -> T:
        """Carry out any call without blocking the event loop. Opens a session for this one call."""
        from airflow_provider_enos.client.aio import AsyncClient
        from airflow_provider_enos.utils.connections import async_settings

        settings = await async_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)
        async with AsyncClient(settings) as client:
            return await client.call(call)

    def trigger_flow_from_task(self, flow_id: int | str, from_task_id: int | str, trigger_time: Any) -> str:
        """Trigger Flow From Task: run a task node and all nodes downstream of it. Return the flow instance id."""
        return self.run(checked_calls.trigger_flow_from_task(flow_id, from_task_id, trigger_time))

    def trigger_flow(self, flow_id: int | str, trigger_time: Any) -> str:
        """Trigger Flow: run the whole flow. Return the flow instance id."""
        return self.run(checked_calls.trigger_flow(flow_id, trigger_time))

    def update_and_trigger_flow(self, flow_id: int | str, trigger_time: Any, parameters: Mapping[str, str]) -> str:
        """Update And Trigger Flow: run the whole flow once with other parameters. Return the flow instance id."""
        return self.run(checked_calls.update_and_trigger_flow(flow_id, trigger_time, parameters))

    def get_flow(self, flow_id: int | str) -> Flow:
        """Get Flow: return the flow with its task nodes, the flows that it depends on, and the edges between them."""
        return self.run(checked_calls.get_flow(flow_id))

    def get_my_flow(self, expression: str = "") -> tuple[MyFlow, ...]:
        """Get My Flow: return the user's flows whose id or name is like ``expression``; all of them if it is empty."""
        return self.run(checked_calls.get_my_flow(expression))

    def search_flows(self, expression: str = "", page_size: int = 50) -> Iterator[FlowSummary]:
        """Search Flow: yield the organisation's flows, also of other users, whose id or name is like ``expression``.

        Pages are fetched as they are needed. No flow comes twice, also where the gateway numbers pages from 0.

        :param expression: part of an id or a name; empty: all flows.
        :param page_size: flows a page, at most 50: EnOS recommends no more, and does not say if it left some out.
        """
        return self._all_pages([checked_calls.search_flows(expression, page_size)])

    def export_flow(self, flow_id: int | str) -> FlowExport:
        """Export Flow: return all that Import Flow needs to make the flow again. Its ``document()`` is JSON."""
        return self.run(checked_calls.export_flow(flow_id))

    def import_flow(
        self,
        flow_name: str,
        dir_id: str,
        flow_json: FlowExport | Mapping[str, Any],
        *,
        flow_id: int | str | None = None,
        desc: str = "",
    ) -> int:
        """Import Flow: create a flow from an export. Return its id. Not repeated where the reply is lost.

        :param flow_name: the name of the new flow, which no other may have.
        :param dir_id: the directory to put it into: the ``key`` of one that List Workflow Directories gives.
        :param flow_json: what ``export_flow`` gave, or its document.
        :param flow_id: the id that it should have. EnOS gives it another one if this is taken.
        :param desc: its description; if empty, the description in the export.
        """
        return self.run(checked_calls.import_flow(flow_name, dir_id, flow_json, flow_id, desc))

    def load_flow_for_edit(self, flow_id: int | str) -> Flow:
        """Load Flow For Edit: return a temporary copy, to be changed and saved. Its ``flow_id`` may be another.

        EnOS makes the copy for this call, so it is not repeated where the reply is lost.
        """
        return self.run(checked_calls.load_flow_for_edit(flow_id))

    def save_flow(self, flow: Flow) -> int:
        """Save Flow: store a flow as ``load_flow_for_edit`` gave it, with changes. Return its id.

        ::

            flow = hook.load_flow_for_edit(3377)
            hook.save_flow(dataclasses.replace(flow, cron="0 30 0 * * ? *"))

        Not repeated where the reply is lost. ``entry``, ``sync_type``, ``virtual``, times and privileges are EnOS's own
        and not saved.
        """
        return self.run(checked_calls.save_flow(flow))

    def delete_flow(self, flow_id: int | str) -> None:
        """Delete Flow: delete it and all its instances. Not repeated where the reply is lost."""
        self.run(checked_calls.delete_flow(flow_id))

    def enable_flow(self, flow_id: int | str) -> None:
        """Enable Flow: switch its schedule on."""
        self.run(checked_calls.enable_flow(flow_id))

    def disable_flow(self, flow_id: int | str) -> None:
        """Disable Flow: switch its schedule off."""
        self.run(checked_calls.disable_flow(flow_id))

    def list_workflow_directories(self) -> tuple[Directory, ...]:
        """List Workflow Directories: return the tree of directories with their flows, as a rule with one root."""
        return self.run(checked_calls.list_workflow_directories())

    def create_directory(self, parent_id: str, dir_name: str) -> str:
        """Create Directory. Return its id. Not repeated where the reply is lost.

        :param parent_id: the directory to put it into: the ``key`` of one that List Workflow Directories gives.
        :param dir_name: its name, which no other directory there may have.
        """
        return self.run(checked_calls.create_directory(parent_id, dir_name))

    def get_flow_instance(self, flow_instance_id: str) -> FlowInstance:
        """Get Flow Instance: return its status, and the status of each node."""
        return self.run(checked_calls.get_flow_instance(flow_instance_id))

    def list_flow_instances(
        self,
        from_trigger_time: Any,
        to_trigger_time: Any,
        *,
        type: int | None = None,
        status: str | FlowStatus | Iterable[str | FlowStatus] = (),
        owner: str = "",
        expression: str = "",
        page_size: int = 50,
    ) -> Iterator[FlowInstance]:
        """List Flow Instances: yield all with a trigger time from the first up to, but not including, the second.

        Pages are fetched as they are needed. No instance comes twice, also where the gateway numbers pages from 0.

        :param type: 0 manual, 1 periodic, 2 temporary; None: all of them.
        :param status: only instances with one of these; none given: any.
        :param owner: only instances whose owner has this user name.
        :param expression: only instances whose id or flow name is like this text.
        :param page_size: instances a page; EnOS recommends at most 50.
        """
        return self._all_pages(
            checked_calls.list_flow_instances(
                from_trigger_time,
                to_trigger_time,
                type=type,
                status=status,
                owner=owner,
                expression=expression,
                page_size=page_size,
            )
        )

    def _all_pages(self, pagers: Iterable[Pager[T]]) -> Iterator[T]:
        for pager in pagers:
            while not pager.done:
                try:
                    page = self.run(pager.call)
                except EnosApiError as error:
                    pager.refused(error)
                else:
                    yield from pager.take(page)

    def cancel_flow_instance(self, flow_instance_id: str) -> None:
        """Cancel Flow Instance. EnOS answers before the instance has ended: poll its status."""
        self.run(checked_calls.cancel_flow_instance(flow_instance_id))

    def get_task_instance(self, task_instance_id: str) -> TaskInstance:
        """Get Task Instance: return one run of a task node."""
        return self.run(checked_calls.get_task_instance(task_instance_id))

    def get_task_instance_log(self, task_instance_id: str, max_length: int | None = None) -> str:
        """Get Task Instance Log: return the log of a node's run, at most ``max_length`` characters (default 2^20).

        Raises ``EnosNotFoundError`` where there is none yet.
        """
        return self.run(checked_calls.get_task_instance_log(task_instance_id, max_length))

    def get_current_time(self) -> int:
        """Get Current Time: return the epoch milliseconds by EnOS's clock."""
        return self.run(checked_calls.get_current_time())

    def get_time_zone(self) -> str:
        """Get Timezone: return the zone of EnOS's business dates, such as ``GMT+8``."""
        return self.run(checked_calls.get_time_zone())

    def check_connection(self) -> Iterator[Step]:
        """Yield the steps that show whether the connection works, each when it is done. A failed step is the last.

        Changes nothing in EnOS. Each reply may take 15 seconds, or the connection's ``timeout`` if that is shorter.
        """
        from airflow_provider_enos.client import connection_check

        try:
            settings = self.settings
        except AirflowNotFoundException as error:
            variable = f"AIRFLOW_CONN_{self.enos_conn_id.upper()}"
            to_do = f"Add it in Airflow (Admin > Connections, airflow connections add), or set {variable}."
            if os.environ.get(variable):
                # Airflow passes over what it cannot read there.
                to_do = f"{variable} is set, but Airflow cannot read it: is it whole, and valid JSON?"
            yield connection_check.Step("connection", "failed", excerpt(str(error)), excerpt(to_do))
            return
        except EnosConfigError as error:
            yield connection_check.failed("connection", error)
            return
        yield connection_check.Step("connection", "ok", f"{self.enos_conn_id} can be read")
        yield from connection_check.steps(settings)

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the connection works, and a message: what is wrong with it, or what it leads to."""
        steps = list(self.check_connection())
        if steps[-1].state == "failed":
            found = steps[-1].sentence
            return False, f"{found.rstrip('.')}.{_in_the_form(found)}"
        settings = self.settings
        said = f"Connected to {settings.base_url} as user {settings.user_id} of organisation {settings.org_id}."
        return True, " ".join([said, *(step.said for step in steps if step.state == "note")])


def _in_the_form(said: str) -> str:
    """Return a sentence with the form's labels of the fields that ``said`` names, for people who fill in the form."""
    labels = FIELD_BEHAVIOUR["relabeling"] | {name: field["label"] for name, field in CONNECTION_FIELDS.items()}
    words = set(re.findall(r"\w+", said))
    named = [f'{name} is "{label}"' for name, label in labels.items() if name in words and label.lower() != name]
    return f" In the form, {', '.join(named)}." if named else ""
