"""Whatever a gateway sends: documented exceptions, bounded messages on one line, no secret, no forged line of a log."""

from __future__ import annotations

import json
import socket
from typing import Any

import enos_documents as documents
from fuzzing import JSON, TEXTS, assert_fit_for_a_log, changed, hold
from hypothesis import strategies as st
from rogue import TOKEN, drive_with_aiohttp, drive_with_requests, reply, rogue_gateway, settings_of
from worker import Log

from airflow_provider_enos.errors import EnosError, from_json, to_json
from airflow_provider_enos.protocol.follow import flow_events
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch, conclude
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.follow.window import Window
from airflow_provider_enos.protocol.follow.window_rules import Rules, judge
from airflow_provider_enos.protocol.follow.window_wait import Wanted, WindowWatch
from airflow_provider_enos.protocol.models import FlowExport
from airflow_provider_enos.protocol.text import Secrets
from airflow_provider_enos.protocol.trigger_time import further_minutes, zone_of
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.protocol.wire.messages import Call, Response, Sleep
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent

SECRETS = Secrets(("the-secret-key", "APP_PORTAL_S_a-token", "a-signature"))
EXPORT = FlowExport.parse(documents.EXPORT)
CALLS: list[Call[Any]] = [
    calls.trigger_flow_from_task(3377, 108580, 1594016819108),
    calls.get_flow(3377),
    calls.export_flow(3377),
    calls.import_flow("a", "b", EXPORT),
    calls.load_flow_for_edit(3377),
    calls.delete_flow(3377),
    calls.get_my_flow(),
    calls.search_flows(page_no=1, page_size=50),
    calls.list_workflow_directories(),
    calls.create_directory("a", "b"),
    calls.get_flow_instance("3377-20200706062600"),
    calls.list_flow_instances(type=0, from_trigger_time=0, to_trigger_time=1, page_no=1, page_size=50),
    calls.cancel_flow_instance("3377-20200706062600"),
    calls.get_task_instance("108580-20200706062600"),
    calls.get_task_instance_log("108580-20200706062600"),
    calls.get_current_time(),
    calls.get_time_zone(),
    calls.get_token("key", "digest", 0),
]
ANSWERS: list[Any] = [
    documents.INSTANCE,
    documents.TASK,
    documents.FLOW,
    documents.WHOLE_FLOW,
    documents.EXPORT,
    [documents.DIRECTORY],
    [documents.MY_FLOW],
    [documents.FOUND_FLOW],
    {"flowInsts": [documents.INSTANCE], "count": 1},
    {"log": "run  num:\t1\nuuu\n"},
    {"flowInstanceId": "3377-20200706062600"},
    {"flowId": 3377},
    {"dirId": "a"},
    {"accessToken": "t", "expire": 7200},
    {"timezone": "GMT+8"},
    1594016819108,
]
DATA = changed(ANSWERS) | JSON
ENVELOPES = (
    changed([{"code": 0, "msg": "OK", "data": answer} for answer in ANSWERS])
    | changed([{"status": 0, "msg": "SUCCESS", "data": {"accessToken": "t", "expire": 7200}}])
    | st.fixed_dictionaries(
        {"code": st.sampled_from([0, 62101, 62102, 62109, "0", 401, 1203]) | JSON, "msg": TEXTS, "data": DATA},
        optional={"requestId": JSON, "message": TEXTS},
    )
    | JSON
)


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def echoing(text: str) -> bytes:
    """An error that repeats what it was sent, somewhere in other text."""
    return as_bytes({"code": 62102, "msg": text.join(SECRETS), "requestId": f"{text}{SECRETS[1]}"})


BODIES = st.binary(max_size=200) | ENVELOPES.map(as_bytes) | TEXTS.map(echoing)
HEADERS = st.dictionaries(
    st.sampled_from(["date", "retry-after"]),
    TEXTS | st.sampled_from(["Mon, 06 Jul 2020 06:26:59 GMT", "0", "-1", "Thu, 01 Jan 0001 00:00:00 -0000"]),
)


def assert_fit(text: str, longest: int = 3_000) -> None:
    assert_fit_for_a_log(text, longest)
    assert not any(secret in text for secret in SECRETS)


def test_whatever_a_reply_is() -> None:
    """It is what was asked for, or one of our errors with a message that is fit for a log and for an event."""

    def check(call: Call[Any], status: int, headers: dict[str, str], body: bytes) -> None:
        response = Response(status, headers, body)
        replies.retry_after(response, 0.0)
        replies.epoch_seconds(headers.get("date", ""))
        try:
            repr(replies.read(call, response, secrets=SECRETS))
        except EnosError as error:
            came = error
        else:
            return
        assert_fit(str(came))
        assert_fit(repr(came), 4_000)
        assert str(from_json(json.loads(json.dumps(to_json(came))))) == str(came)

    hold(
        check,
        call=st.sampled_from(CALLS),
        status=st.sampled_from([200, 204, 302, 400, 401, 429, 500, 504]) | st.integers(100, 599),
        headers=HEADERS,
        body=BODIES,
        examples=100,
    )


def followed(answers: list[Any], log: Log, stream: LogStream) -> None:
    """Follows an instance to its end and reports on it, where the gateway answers each call with the next answer."""
    left = list(answers)

    def play(steps: Any) -> Any:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Sleep):
                    step = steps.send(None)
                    continue
                body = as_bytes({"code": 0, "data": left.pop() if left else {"log": "ERROR \x1b[2Jx"}})
                try:
                    answer = replies.read(step, Response(200, {}, body), secrets=SECRETS)
                except EnosError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return done.value

    watch = InstanceWatch("3377-20200706062600", tolerance=1e9, log=log, known=True, stream=stream)
    found = None
    for _ in range(len(answers)):
        found = play(watch.look(clock=lambda: 0.0)) or found
    assert len(json.dumps(watch.memory)) < 200_000
    InstanceWatch("3377-20200706062600", tolerance=1, log=log).remember(json.loads(json.dumps(watch.memory)))
    if found is not None:
        json.dumps(flow_events.payload(found))
        play(conclude(found, task_logs="all", link=None, log=log, stream=stream))


INSTANCES = [
    {**documents.INSTANCE, "status": status, "graph": {**json.loads(documents.INSTANCE["graph"]), "tasks": [node]}}
    for status in (-1, 1, 2, 8)
    for node in json.loads(documents.INSTANCE["graph"])["tasks"]
]


def test_whatever_names_and_logs_are() -> None:
    """Nothing that EnOS sends makes a line of a log but those we write: no line break, no escape, no fold."""

    def check(answers: list[Any]) -> None:
        log = Log()
        try:
            followed(answers, log, LogStream(log))
        except EnosError as error:
            assert_fit(str(error))
        for line in log.lines:
            text = line.removeprefix("::group::").replace("::endgroup::", "", 1)
            assert_fit(text)
            assert "::group::" not in text
            assert "::endgroup::" not in text

    hold(check, answers=st.lists(changed([*INSTANCES, {"log": "a\nb"}, documents.TASK]), max_size=6), examples=40)


def test_whatever_a_list_holds() -> None:
    """A window's verdict rests on ids that are ids: they become the XCom of a sensor."""
    rules = Rules.of(
        allowed_statuses=["SUCCESS", "FAIL"],
        failed_statuses=[],
        skipped_statuses=[],
        instances="any",
        expected_instances=1,
        types=[1],
        scheduled_only=False,
    )
    wanted = Wanted(2809, Window(0, 1), rules)

    def check(page: Any) -> None:
        call = calls.list_flow_instances(type=0, from_trigger_time=0, to_trigger_time=1, page_no=1, page_size=50)
        try:
            listed = replies.read(call, Response(200, {}, as_bytes({"code": 0, "data": page}))).instances
        except EnosError:
            return
        log = Log()
        found = [instance for instance in listed if wanted.counts(instance)]
        WindowWatch(wanted, tolerance=1, log=log).saw(found, 0.0)
        verdict = judge(rules, found)
        for text in (*verdict.ids, *log.lines):
            assert_fit(text)

    ids = TEXTS | st.from_regex(r"\A2809-[0-9]{0,14}[^0-9]?\Z")
    items = st.builds(lambda document, id: {**document, "instanceId": id}, st.sampled_from(INSTANCES), ids)
    pages = st.lists(items, max_size=3).map(lambda listed: {"flowInsts": listed, "count": 1})
    hold(check, page=pages | changed([{"flowInsts": INSTANCES[:1], "count": 1}]), examples=60)


def test_whatever_an_event_holds() -> None:
    """What resumes a task comes out of a database."""

    def check(payload: Any) -> None:
        for kind in (InstanceEvent, WindowEvent):
            try:
                kind.of(payload)
            except EnosError as error:
                assert_fit(str(error), 1_000)
        LogStream(Log()).remember(payload)

    event = {"flow_instance_id": "1-2", "status": "error", "error": to_json(EnosError("x")), "logs": {"a": [1] * 6}}
    window = {"window": [0, 60_000], "status": "ended", "error": None}
    hold(check, payload=changed([event, window]) | JSON)


def test_whatever_zone_the_gateway_names() -> None:
    def check(text: str) -> None:
        zone = zone_of(text)
        if zone is not None:
            assert len(list(further_minutes(1594016819108, zone))) <= 30

    zones = st.from_regex(r"\A(GMT|UTC|Etc/|\.\./|/)?[+\-0-9:A-Za-z/_.]{0,12}\Z")
    hold(check, text=TEXTS | zones)


def test_whatever_is_on_the_line() -> None:
    """Bytes instead of HTTP: both drivers say so in one of our errors, in time and without what they sent."""

    def check(pieces: list[bytes]) -> None:
        raw = b"".join(pieces)

        def answer(line: socket.socket) -> None:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)

        with rogue_gateway(answer) as gateway:
            for drive in (drive_with_requests, drive_with_aiohttp):
                try:
                    drive(settings_of(gateway, timeout=2), calls.get_time_zone())
                except EnosError as error:
                    assert_fit(str(error).replace(TOKEN, "\0"))

    piece = st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 99999 \r\n",
            b"HTTP/9.9 200\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: -5\r\n",
            b"Content-Length: 99999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Encoding: gzip\r\n",
            b"Set-Cookie: a=b\r\n",
            b"Date: \xff\xfe\r\n",
            TOKEN.encode(),
            b"\r\n",
            b"5\r\nabcde\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b'{"code":0,"data":{"timezone":"GMT+8"}}',
            reply(b'{"code":0,"data":{"timezone":"GMT+8"}}'),
            b"\x1f\x8b\x08\x00",
        ]
    )
    hold(check, pieces=st.lists(piece | st.binary(max_size=20), max_size=8), examples=25)
