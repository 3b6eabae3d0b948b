"""The connection to an EnOS gateway."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_enos.errors import EnosApiError, EnosConfigError, EnosError, EnosReplyError
from airflow_provider_enos.protocol import arguments, models, trigger_time as times
from airflow_provider_enos.protocol.text import excerpt, shown
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_enos.utils.connections import async_settings, unreadable
from airflow_provider_enos.version_compat import AirflowNotFoundException, BaseHook

if TYPE_CHECKING:
    from airflow_provider_enos.client.connection_check import Step
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.protocol.models import (
        Directory,
        Flow,
        FlowExport,
        FlowInstance,
        FlowPage,
        FlowStatus,
        FlowSummary,
        MyFlow,
        TaskInstance,
    )
    from airflow_provider_enos.protocol.wire.messages import Call

__all__ = ["EnosHook"]

T = TypeVar("T")


class EnosHook(BaseHook):
    """Signs and sends calls of the EnOS Batch Processing Service v2.1 through the API gateway.

    One method an operation, named after its page in the EnOS documentation. Ids are numbers or digits; a trigger time
    is what ``protocol.trigger_time.parse`` takes. Every method raises ``EnosConfigError`` before anything is sent if
    the connection or an argument cannot work, and else an ``EnosError``; see ``airflow_provider_enos.errors``. Calls
    that are safe to repeat are repeated with pauses; a trigger is not.

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
        """How Airflow before 3.2 shows the connection's common fields."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The connection's own fields, for Airflow before 3.2."""
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
            raise unreadable(self.enos_conn_id, error) from error

    def get_conn(self) -> SyncClient:
        """The same as ``client``."""
        return self.client

    def run(self, call: Call[T]) -> T:
        """Carries out any call, such as one of ``protocol.wire.calls`` that has no method here."""
        # Where Airflow cannot give the connection, its own error says so.
        _ = self.settings
        return self.client.call(call)

    async def arun(self, call: Call[T]) -> T:
        """The same without blocking the event loop. Opens a session for this one call."""
        from airflow_provider_enos.client.aio import AsyncClient

        settings = await async_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)
        async with AsyncClient(settings) as client:
            return await client.call(call)

    def trigger_flow_from_task(self, flow_id: int | str, from_task_id: int | str, trigger_time: Any) -> str:
        """Trigger Flow From Task: runs a task node and all downstream of it; gives the flow instance id."""
        return self.run(
            calls.trigger_flow_from_task(
                arguments.number(flow_id, "flow_id"),
                arguments.number(from_task_id, "from_task_id"),
                _milliseconds(trigger_time, "trigger_time"),
            )
        )

    def trigger_flow(self, flow_id: int | str, trigger_time: Any) -> str:
        """Trigger Flow: runs the whole flow; gives the flow instance id."""
        return self.run(
            calls.trigger_flow(arguments.number(flow_id, "flow_id"), _milliseconds(trigger_time, "trigger_time"))
        )

    def update_and_trigger_flow(self, flow_id: int | str, trigger_time: Any, parameters: Mapping[str, str]) -> str:
        """Update And Trigger Flow: runs the whole flow once with other parameters; gives the flow instance id."""
        return self.run(
            calls.update_and_trigger_flow(
                arguments.number(flow_id, "flow_id"),
                _milliseconds(trigger_time, "trigger_time"),
                arguments.parameters(parameters),
            )
        )

    def get_flow(self, flow_id: int | str) -> Flow:
        """Get Flow: the flow with its task nodes, the flows that it depends on, and the edges between them."""
        return self.run(calls.get_flow(arguments.number(flow_id, "flow_id")))

    def get_my_flow(self, expression: str = "") -> tuple[MyFlow, ...]:
        """Get My Flow: the user's flows whose id or name is like ``expression``; all of them if it is empty."""
        return self.run(calls.get_my_flow(arguments.text(expression, "expression")))

    def search_flows(self, expression: str = "", page_size: int = PAGE_SIZE) -> Iterator[FlowSummary]:
        """Search Flow: all of the organisation, also of other users, whose id or name is like ``expression``.

        Pages are asked for as they are needed. No flow comes twice, also where the gateway numbers pages from 0.

        :param expression: part of an id or a name; empty: all flows.
        :param page_size: flows a page, 50 at the most: EnOS recommends no more, and does not say if it left some out.
        """
        arguments.text(expression, "expression")
        _check_page_size(page_size, PAGE_SIZE)

        def sorted_by(field: str) -> Callable[[int], Call[FlowPage]]:
            return lambda page_no: calls.search_flows(
                page_no=page_no, page_size=page_size, expression=expression, sort_by=field
            )

        first, other = calls.SORT_FIELDS
        return self._all_pages([Pager(sorted_by(first), page_size, or_else=sorted_by(other))])

    def export_flow(self, flow_id: int | str) -> FlowExport:
        """Export Flow: all that Import Flow needs to make the flow again; ``.document()`` of it is JSON for a file."""
        return self.run(calls.export_flow(arguments.number(flow_id, "flow_id")))

    def import_flow(
        self,
        flow_name: str,
        dir_id: str,
        flow_json: FlowExport | Mapping[str, Any],
        *,
        flow_id: int | str | None = None,
        desc: str = "",
    ) -> int:
        """Import Flow: makes a flow of an export; gives its id. Not repeated where the reply is lost.

        :param flow_name: the name of the new flow, which no other may have.
        :param dir_id: the directory to put it into: the ``key`` of one that List Workflow Directories gives.
        :param flow_json: what ``export_flow`` gave, or its document.
        :param flow_id: the id that it should have. EnOS gives it another one if this is taken.
        :param desc: its description; that of the export if it is empty.
        """
        name, directory = arguments.name(flow_name, "flow_name"), arguments.name(dir_id, "dir_id")
        wanted = None if flow_id is None else arguments.number(flow_id, "flow_id")
        description = arguments.prose(desc, "desc")
        export = _flow_export(flow_json)
        with _must_be_json("flow_json", "what export_flow gives"):
            call = calls.import_flow(name, directory, export, flow_id=wanted, desc=description)
        return self.run(call)

    def load_flow_for_edit(self, flow_id: int | str) -> Flow:
        """Load Flow For Edit: a temporary copy of the flow, to be changed and saved. Its ``flow_id`` may be another.

        EnOS makes the copy for this call, so it is not repeated where the reply is lost.
        """
        return self.run(calls.load_flow_for_edit(arguments.number(flow_id, "flow_id")))

    def save_flow(self, flow: Flow) -> int:
        """Save Flow: stores a flow as ``load_flow_for_edit`` gave it, with changes; gives its id.

        ::

            flow = hook.load_flow_for_edit(3377)
            hook.save_flow(dataclasses.replace(flow, cron="0 30 0 * * ? *"))

        Not repeated where the reply is lost. ``entry``, ``sync_type``, ``virtual``, times and privileges are EnOS's own
        and not saved.
        """
        _check_flow(flow)
        with _must_be_json("flow", "a Flow as load_flow_for_edit gives, with values of the same types"):
            call = calls.save_flow(flow)
        return self.run(call)

    def delete_flow(self, flow_id: int | str) -> None:
        """Delete Flow, and with it all its instances. Not repeated where the reply is lost."""
        self.run(calls.delete_flow(arguments.number(flow_id, "flow_id")))

    def enable_flow(self, flow_id: int | str) -> None:
        """Enable Flow: switches its schedule on."""
        self.run(calls.enable_flow(arguments.number(flow_id, "flow_id")))

    def disable_flow(self, flow_id: int | str) -> None:
        """Disable Flow: switches its schedule off."""
        self.run(calls.disable_flow(arguments.number(flow_id, "flow_id")))

    def list_workflow_directories(self) -> tuple[Directory, ...]:
        """List Workflow Directories: the tree of directories and of the flows in them, as a rule with one root."""
        return self.run(calls.list_workflow_directories())

    def create_directory(self, parent_id: str, dir_name: str) -> str:
        """Create Directory; gives its id. Not repeated where the reply is lost.

        :param parent_id: the directory to put it into: the ``key`` of one that List Workflow Directories gives.
        :param dir_name: its name, which no other directory there may have.
        """
        return self.run(
            calls.create_directory(arguments.name(parent_id, "parent_id"), arguments.name(dir_name, "dir_name"))
        )

    def get_flow_instance(self, flow_instance_id: str) -> FlowInstance:
        """Get Flow Instance: its status and that of its nodes."""
        return self.run(calls.get_flow_instance(arguments.instance(flow_instance_id, "flow_instance_id")))

    def list_flow_instances(
        self,
        from_trigger_time: Any,
        to_trigger_time: Any,
        *,
        type: int | None = None,
        status: str | FlowStatus | Iterable[str | FlowStatus] = (),
        owner: str = "",
        expression: str = "",
        page_size: int = PAGE_SIZE,
    ) -> Iterator[FlowInstance]:
        """List Flow Instances: all with a trigger time from the first up to, but not including, the second.

        Pages are asked for as they are needed. No instance comes twice, also where the gateway numbers pages from 0.

        :param type: 0 manual, 1 periodic, 2 temporary; None: all of them.
        :param status: only those with one of these; none given: any.
        :param owner: only those of the owner with this user name.
        :param expression: only those whose id or flow name is like it.
        :param page_size: instances a page; EnOS recommends 50 at the most.
        """
        first = _milliseconds(from_trigger_time, "from_trigger_time")
        end = _milliseconds(to_trigger_time, "to_trigger_time")
        if isinstance(type, bool) or type not in (None, *calls.ALL_FLOW_TYPES):
            raise EnosConfigError("type", shown(type), accepted="0 (manual), 1 (periodic), 2 (temporary) or None")
        types = calls.ALL_FLOW_TYPES if type is None else (type,)
        wanted = arguments.statuses(status, "status")
        _check_page_size(page_size, 1000)
        owner, expression = arguments.text(owner, "owner"), arguments.text(expression, "expression")
        return self._all_pages(
            Pager(
                lambda page_no, type=one: calls.list_flow_instances(  # type: ignore[misc]
                    type=type,
                    from_trigger_time=first,
                    to_trigger_time=end,
                    page_no=page_no,
                    page_size=page_size,
                    status=wanted,
                    owner=owner,
                    expression=expression,
                ),
                page_size,
            )
            for one in types
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
        """Cancel Flow Instance. EnOS does not say whether it has ended when it answers: ask for its status."""
        self.run(calls.cancel_flow_instance(arguments.instance(flow_instance_id, "flow_instance_id")))

    def get_task_instance(self, task_instance_id: str) -> TaskInstance:
        """Get Task Instance: one run of a task node."""
        return self.run(calls.get_task_instance(arguments.instance(task_instance_id, "task_instance_id")))

    def get_task_instance_log(self, task_instance_id: str, max_length: int | None = None) -> str:
        """Get Task Instance Log: the text of a node's run, ``max_length`` characters at most (EnOS's default: 2^20).

        Where there is none yet, ``EnosNotFoundError`` is raised.
        """
        length = None if max_length is None else arguments.number(max_length, "max_length")
        return self.run(calls.get_task_instance_log(arguments.instance(task_instance_id, "task_instance_id"), length))

    def get_current_time(self) -> int:
        """Get Current Time: epoch milliseconds by EnOS's clock."""
        return self.run(calls.get_current_time())

    def get_time_zone(self) -> str:
        """Get Timezone: the zone of EnOS's business dates, such as ``GMT+8``."""
        return self.run(calls.get_time_zone())

    def check_connection(self) -> Iterator[Step]:
        """Whether the connection works, step by step: each once it is known, a failed one as the last.

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
        """Whether the connection works, and in a sentence what is wrong with it if not."""
        steps = list(self.check_connection())
        if steps[-1].state == "failed":
            found = steps[-1].sentence
            return False, f"{found.rstrip('.')}.{_in_the_form(found)}"
        settings = self.settings
        said = f"Connected to {settings.base_url} as user {settings.user_id} of organisation {settings.org_id}."
        return True, " ".join([said, *(step.said for step in steps if step.state == "note")])


def _in_the_form(said: str) -> str:
    """What the form calls the fields that ``said`` names; people who test a connection have filled it in."""
    labels = FIELD_BEHAVIOUR["relabeling"] | {name: field["label"] for name, field in CONNECTION_FIELDS.items()}
    words = set(re.findall(r"\w+", said))
    named = [f'{name} is "{label}"' for name, label in labels.items() if name in words and label.lower() != name]
    return f" In the form, {', '.join(named)}." if named else ""


def _milliseconds(value: Any, field: str) -> int:
    return times.parse(value, now=int(time() * 1000), field=field)


def _check_page_size(page_size: object, most: int) -> None:
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= most:
        raise EnosConfigError("page_size", shown(page_size), accepted=f"1 to {most}")


def _flow_export(value: object) -> FlowExport:
    if isinstance(value, models.FlowExport):
        return value
    accepted = "what export_flow gives, or its document"
    if not isinstance(value, Mapping):
        raise EnosConfigError("flow_json", shown(value), accepted=accepted)
    try:
        return models.FlowExport.parse(value)
    except EnosReplyError as error:
        raise EnosConfigError("flow_json", str(error), accepted=accepted) from None


def _check_flow(flow: object) -> None:
    if not isinstance(flow, models.Flow):
        raise EnosConfigError("flow", shown(flow), accepted="a Flow as load_flow_for_edit gives")
    for name in ("type", "alert_mode"):
        if getattr(flow, name) is None:
            raise EnosConfigError(f"flow.{name}", "None", accepted="a number, without which EnOS saves no flow")


@contextmanager
def _must_be_json(field: str, accepted: str) -> Iterator[None]:
    """Values that a caller has put into a model are not checked until they are written."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EnosConfigError(field, excerpt(str(error), 120), accepted=accepted) from None
