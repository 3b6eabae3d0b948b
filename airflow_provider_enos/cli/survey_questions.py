"""The questions of a survey, in one table: how each is asked, what the answers mean, and how the package copes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_enos.cli.survey_answers import Asked
from airflow_provider_enos.cli.survey_gateway import (
    clock_skew,
    http_status,
    of_refresh,
    replayed_call,
    request_id,
    time_zone,
)
from airflow_provider_enos.cli.survey_lists import (
    count_means,
    first_page,
    keeps_order,
    keeps_statuses,
    list_sorters,
    listed_type,
    page_size,
    search_first_page,
    search_sorters,
)
from airflow_provider_enos.cli.survey_replies import (
    data_as,
    directory_type,
    graph_as,
    graph_keys,
    id_style,
    ids_as,
    log_grows,
    log_keeps,
    log_missing,
    one_at_a_time,
    paused_trigger,
    run_times,
    task_types,
    unknown_instance,
)
from airflow_provider_enos.cli.survey_scene import Scene


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    :param text: the question, in a few words.
    :param switch: the simulator's switch; empty if it has none.
    :param ask: asks the gateway.
    :param meets: how the package copes, whatever the answer.
    :param says: the answer in words, by value.
    """

    text: str
    switch: str
    ask: Callable[[Scene], Asked]
    meets: str
    says: Mapping[Any, str] = field(default_factory=dict)


_FORMS = {"int": "numbers", "str": "text"}
_YES_NO = {True: "yes", False: "no"}

QUESTIONS = (
    Question("time zone of replies", "time_zone", time_zone, "shows times as they come"),
    Question(
        "zone of the start and end of instances",
        "run_times_in",
        run_times,
        "accepts a time that fits in either zone",
        {"time_zone": "the zone of Get Timezone", "utc": "UTC"},
    ),
    Question("clock", "clock_skew", clock_skew, "corrects signatures by the Date of replies"),
    Question("HTTP status of an error with a code", "envelope_http_status", http_status, "reads the code first"),
    Question("do replies carry a requestId?", "request_id", request_id, "shows it in messages", _YES_NO),
    Question(
        "a signature that is sent twice",
        "replayed_call",
        replayed_call,
        "signs each request anew",
        {"refused": "is refused", "accepted": "is accepted"},
    ),
    Question(
        "does Refresh return another token?",
        "refresh_changes_token",
        of_refresh("changes"),
        "uses the newest token",
        _YES_NO,
    ),
    Question(
        "does Refresh end the old token?",
        "refresh_revokes_old",
        of_refresh("revokes"),
        "renews the token once after a refusal",
        _YES_NO,
    ),
    Question(
        "how is an ended token refused?",
        "refused_token",
        of_refresh("refused"),
        "renews the token after either",
        {"envelope": "with code 1203", "http": "with HTTP 401"},
    ),
    Question("first page of List Flow Instances", "first_page", first_page, "asks for page 0 first", {0: "0", 1: "1"}),
    Question(
        "first page of Search Flow", "search_first_page", search_first_page, "asks for page 0 first", {0: "0", 1: "1"}
    ),
    Question("field that instances are sorted by", "", list_sorters, "tries one after the other"),
    Question(
        "field that flows are sorted by",
        "search_sorters",
        search_sorters,
        "tries create_time, then createTime",
        {"either": "create_time and createTime", "snake": "create_time", "camel": "createTime"},
    ),
    Question(
        "count in a list of instances",
        "count_means",
        count_means,
        "takes it for the least that there are",
        {"total": "all that match", "page": "those on the page"},
    ),
    Question("size of a page", "", page_size, "goes on with smaller pages"),
    Question("does a list keep the requested order?", "", keeps_order, "checks each page, else polls singly"),
    Question("does a list keep to the requested statuses?", "", keeps_statuses, "checks each page, else polls singly"),
    Question(
        "type under which a triggered instance is listed",
        "listed_type",
        listed_type,
        "asks all three types",
        {0: "0", 1: "1", 2: "2"},
    ),
    Question(
        "an instance in a reply",
        "data_as",
        data_as,
        "reads both",
        {"object": "an object", "list": "a list of one"},
    ),
    Question("graph in a reply", "graph_as", graph_as, "reads both", {"text": "JSON text", "object": "an object"}),
    Question("keys of the graph", "graph_keys", graph_keys, "reads both", {"camel": "taskId", "snake": "task_id"}),
    Question("ids of flows and tasks", "ids_as", ids_as, "reads both", _FORMS),
    Question(
        "an instance that does not exist",
        "unknown_instance",
        unknown_instance,
        'takes each of them for "not there"',
        {"error": "an error with a code", "null": "null", "empty_list": "an empty list"},
    ),
    Question("type of a directory", "directory_type_as", directory_type, "reads both", _FORMS),
    Question("types of exported tasks", "task_types_as", task_types, "keeps them as they are", _FORMS),
    Question(
        "code for a log that does not exist yet",
        "log_missing_code",
        log_missing,
        "accepts either",
        {62109: "62109", 62102: "62102"},
    ),
    Question(
        "end of a log that maxLength keeps",
        "log_keeps",
        log_keeps,
        "sends no maxLength",
        {"head": "the beginning", "tail": "the end"},
    ),
    Question("is the log there while a node runs?", "log_grows", log_grows, "shows new lines as they come", _YES_NO),
    Question(
        "ids of triggered instances",
        "id_style",
        id_style,
        "believes the id in the reply",
        {"documented": "named after the minute in UTC", "other": "not named after the minute"},
    ),
    Question("does a flow run one instance at a time?", "one_at_a_time", one_at_a_time, "waits for its turn", _YES_NO),
    Question(
        "trigger while the schedule is off",
        "paused_trigger",
        paused_trigger,
        "tries for three minutes",
        {"accepted": "is accepted"},
    ),
)
"""All questions, in the order of the table."""

NOT_ASKED: Mapping[str, str] = {
    "progress": "it is the simulator's alone",
    "minute_rule": "it takes several runs of a flow",
    "clock_minute": "it takes several runs of a flow",
    "omitted_parameters": "it takes a run with other parameters",
    "cancel_takes": "it takes a run that is cancelled",
    "edit_copy": "it makes a copy of a flow",
    "import_needs_desc": "it makes a flow",
    "from_task_follows": "it takes a flow with a relation whose rerun flag is off",
}
"""The switches that no survey tells, each with the reason."""
