"""A reply becomes its data or the exception for its code."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos import errors
from airflow_provider_enos.errors import EnosApiError, EnosError, EnosNotFoundError, EnosReplyError
from airflow_provider_enos.protocol.models import Flow, FlowExport
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.protocol.wire.messages import Response

TIME = calls.get_current_time()
FLOW = calls.get_flow(3377)
TOKEN = calls.get_token("key", "digest", 1)
SECRET = "s3cr3t-k3y-of-the-application"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def reply(body: object = None, status: int = 200, **headers: str) -> Response:
    """A reply; a body that is not bytes is made JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers, raw)


def refusal(response: Response, call: Any = TIME, secrets: tuple[str, ...] = ()) -> Any:
    with pytest.raises(EnosError) as raised:
        replies.read(call, response, secrets=secrets)
    return raised.value


# Codes


@pytest.mark.parametrize(
    ("code", "cls", "final"),
    [
        (1001, "EnosServerError", False),
        (1002, "EnosAuthError", True),
        (1003, "EnosAuthError", True),
        (1004, "EnosRequestError", False),
        (1005, "EnosServerError", False),
        (1202, "EnosRequestError", False),
        (1203, "EnosTokenError", False),
        (1204, "EnosTokenError", False),
        (4011, "EnosTokenError", False),
        (4012, "EnosTokenError", False),
        (62101, "EnosAccessError", True),
        (62102, "EnosRequestError", False),
        (62103, "EnosAccessError", True),
        (62104, "EnosRequestError", False),
        (62105, "EnosAccessError", True),
        (62109, "EnosServerError", False),
        (400, "EnosRequestError", False),
        (401, "EnosAuthError", True),
        (403, "EnosAccessError", True),
        (404, "EnosRequestError", False),
        (413, "EnosRequestError", False),
        (429, "EnosRateLimitError", False),
        (500, "EnosServerError", False),
        (502, "EnosServerError", False),
        (503, "EnosServerError", False),
        (504, "EnosServerError", False),
        (99999, "EnosApiError", False),
        (99500, "EnosServerError", False),
        (-1, "EnosApiError", False),
    ],
)
def test_code_to_class(code: int, cls: str, final: bool) -> None:
    error = refusal(reply({"code": code, "msg": "said so", "requestId": "r-1", "data": None}))
    assert (type(error), error.final) == (getattr(errors, cls), final)
    assert (error.code, error.api_message, error.request_id) == (code, "said so", "r-1")
    assert (error.operation, error.http_status) == ("Get Current Time", 200)
    assert str(error).startswith(f"Get Current Time: {code} said so")
    assert str(error).endswith("[request r-1]")


def test_every_row_of_the_table_is_tested() -> None:
    rows = next(mark for mark in test_code_to_class.pytestmark if mark.name == "parametrize").args[1]
    assert set(replies._CLASSES) <= {code for code, *_ in rows}


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (1002, "login"),
        (1003, "password"),
        (62101, "org_id and user_id"),
        (62103, "must own the flow"),
        (62105, "locked"),
        (401, "secret key"),
        (403, "address"),
        (404, "host"),
        (429, "quota"),
    ],
)
def test_says_what_to_do(code: int, hint: str) -> None:
    assert hint in str(refusal(reply({"code": code, "msg": "x"})))


HINTED = {
    ("Create Directory", 62102): "no other in it may have this dir_name",
    ("Create Directory", 62103): "unit of the parent directory",
    ("Delete Flow", 62104): "take it out of the flows that rely on it, and stop its instances, first",
    ("Export Flow", 62102): "there is no such flow, or it is not complete",
    ("Export Flow", 62103): "unit of the flow",
    ("Get Flow", 62103): "unit of the flow",
    ("Import Flow", 62102): "dir_id must be the key of a directory",
    ("Import Flow", 62103): "unit of the directory",
    ("Load Flow For Edit", 62103): "unit of the flow",
    ("Save Flow", 62102): "change what Load Flow For Edit gives",
    ("Trigger Flow", 62104): "put a task into the flow first",
    ("Trigger Flow From Task", 62104): "put a task into the flow first",
    ("Update And Trigger Flow", 62104): "put a task into the flow first",
}
OPERATIONS = {
    call.operation: call
    for call in (
        calls.create_directory("root", "new"),
        calls.delete_flow(1),
        calls.export_flow(1),
        calls.get_flow(1),
        calls.import_flow("new", "root", FlowExport.parse({})),
        calls.load_flow_for_edit(1),
        calls.save_flow(Flow.parse({"flowId": 1})),
        calls.trigger_flow(1, 1),
        calls.trigger_flow_from_task(1, 1, 1),
        calls.update_and_trigger_flow(1, 1, {}),
    )
}


@pytest.mark.parametrize(("about", "hint"), HINTED.items())
def test_says_what_to_do_in_an_operation(about: tuple[str, int], hint: str) -> None:
    """The class of the error is the class for the code."""
    operation, code = about
    error = refusal(reply({"code": code, "msg": "x"}), OPERATIONS[operation])
    assert hint in str(error)
    assert type(error) is replies._CLASSES[code][0]


def test_every_hint_is_tested() -> None:
    assert replies._HINTS.keys() == HINTED.keys()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [{"message": "API said no"}, b"<html>no</html>", b"", [], {"code": None}])
def test_gateway_itself_answers(status: int, body: object) -> None:
    """Without a code in the body the HTTP status counts, whatever else is in it."""
    error = refusal(reply(body, status))
    assert (error.code, error.http_status) == (status, status)
    assert type(error) is type(refusal(reply({"code": status, "msg": ""})))
    if body == {"message": "API said no"}:
        assert error.api_message == "API said no"


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_code_counts_more_than_the_http_status(status: int) -> None:
    """Which HTTP status goes with a code is not documented."""
    error = refusal(reply({"status": 1203, "msg": "expired"}, status))
    assert (type(error), error.http_status) == (errors.EnosTokenError, status)


@pytest.mark.parametrize(
    ("status", "cls"), [(500, "EnosServerError"), (503, "EnosServerError"), (401, "EnosAuthError")]
)
def test_code_0_does_not_excuse_an_http_error(status: int, cls: str) -> None:
    error = refusal(reply({"code": 0, "msg": "OK", "data": 5}, status))
    assert type(error) is getattr(errors, cls)


# Envelopes


@pytest.mark.parametrize(
    "envelope",
    [
        {"code": 0, "msg": "OK", "requestId": "", "data": 5},
        {"status": 0, "msg": "SUCCESS", "business": "apim-token-service", "data": 5},
        {"code": "0", "data": "5"},
        {"code": 0, "status": 1203, "data": 5},
        {"apim_status": None, "code": 0, "data": 5},
    ],
)
def test_data_of_a_good_reply(envelope: object) -> None:
    assert replies.read(TIME, reply(envelope)) == 5


@pytest.mark.parametrize("envelope", [{"code": "62102"}, {"status": "62102"}, {"code": True, "status": 62102}])
def test_code_as_text(envelope: object) -> None:
    assert refusal(reply(envelope)).code == 62102


def test_apim_status_counts_first() -> None:
    error = refusal(reply({"apim_status": 4011, "apim_refreshtoken": "x", "code": 0, "data": 5}))
    assert (type(error), error.code) == (errors.EnosTokenError, 4011)


def test_byte_order_mark() -> None:
    assert replies.read(TIME, reply(b'\xef\xbb\xbf{"code":0,"data":5}')) == 5


def test_data_missing() -> None:
    error = refusal(reply({"code": 0, "msg": "OK"}))
    assert (type(error), str(error)) == (EnosReplyError, "Get Current Time: the reply has no data")


def test_data_of_the_wrong_shape() -> None:
    """The field is named, the operation too, and the HTTP status kept."""
    error = refusal(reply({"code": 0, "data": {"flowId": "x"}}), FLOW)
    assert str(error) == "Get Flow: flow: flowId: expected a whole number, got 'x'"
    assert (type(error), error.http_status) == (EnosReplyError, 200)


BY_ID = [
    FLOW,
    calls.get_flow_instance("1-2"),
    calls.get_task_instance("1-2"),
    calls.get_task_instance_log("1-2"),
]


@pytest.mark.parametrize("call", BY_ID, ids=lambda call: call.operation)
@pytest.mark.parametrize("code", [62102, 62109])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_replies_that_mean_not_found(call: Any, code: int, status: int) -> None:
    """The code for an unknown id is 62102; for a missing log, EnOS may also report an internal error."""
    error = refusal(reply({"code": code, "msg": "said so", "data": None}, status), call)
    missing = code == 62102 or call.operation == "Get Task Instance Log"
    assert type(error) is (EnosNotFoundError if missing else errors.EnosServerError)
    assert (error.code, error.api_message, error.final) == (code, "said so", False)


@pytest.mark.parametrize("call", [calls.trigger_flow(1, 2), calls.cancel_flow_instance("1"), TIME])
def test_the_same_code_where_nothing_was_asked_for_by_id(call: Any) -> None:
    """For a trigger, the code may be a conflict."""
    assert type(refusal(reply({"code": 62102, "msg": "x"}), call)) is errors.EnosRequestError


@pytest.mark.parametrize("code", [404, 413, 62104, 1005])
def test_other_refusals_do_not_say_that_it_is_not_there(code: int) -> None:
    for call in BY_ID:
        assert not isinstance(refusal(reply({"code": code, "msg": "x"}), call), EnosNotFoundError)


@pytest.mark.parametrize("data", [None, "", []])
def test_empty_answer_is_not_there(data: object) -> None:
    """Empty data means not found where an object was asked for by its id, and nowhere else."""
    for call in BY_ID:
        error = refusal(reply({"code": 0, "data": data}), call)
        assert (type(error), error.code) == (EnosNotFoundError, 0)
    page = calls.list_flow_instances(type=0, from_trigger_time=0, to_trigger_time=1, page_no=0, page_size=1)
    assert replies.read(page, reply({"code": 0, "data": data})).instances == ()
    assert replies.read(calls.cancel_flow_instance("1"), reply({"code": 0, "data": data})) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<html>login</html>",
        b"\xff\xfe\x00",
        b"[1]",
        b"5",
        b'"OK"',
        b"null",
        b"{}",
        b'{"data":5}',
        b'{"code":"OK","data":5}',
        b'{"code":1.5,"data":5}',
        b'{"code":0',
        b"[" * 200,
    ],
)
def test_no_enos_reply(body: bytes) -> None:
    error = refusal(reply(body))
    assert type(error) is EnosReplyError
    assert "no EnOS reply" in str(error)
    assert len(str(error)) < 400


def test_empty_body_is_called_so() -> None:
    assert str(refusal(reply(b""))).endswith("the body is empty")


@pytest.mark.parametrize("depth", [*range(900, 1000, 5), 10_000, 100_000])
def test_deep_json(depth: int) -> None:
    """Also if the JSON reader would accept it."""
    for shape in ('{"code":0,"data":%s}', '{"code":0,"data":{"flowId":%s}}'):
        error = refusal(reply((shape % ("[" * depth + "]" * depth)).encode()), FLOW)
        assert type(error) is EnosReplyError


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308])
def test_redirect(status: int) -> None:
    """A redirect is not followed: the signature would go to an unknown host."""
    error = refusal(reply(b"", status, location="https://elsewhere"))
    assert type(error) is EnosReplyError
    assert "points elsewhere" in str(error)
    assert error.http_status == status


# What is shown


def test_control_characters_are_cleaned() -> None:
    error = refusal(reply({"code": 62102, "msg": "a\r\nINFO forged\x1b[2J\u2028b", "requestId": "r\n1"}))
    assert error.api_message == "a INFO forged b"
    assert error.request_id == "r 1"
    assert "\n" not in str(refusal(reply(b"<html>\n\x1b[2J</html>")))


@pytest.mark.parametrize("message", [None, "", 5, ["x"], {"x": 1}])
def test_error_without_a_text(message: object) -> None:
    error = refusal(reply({"code": 62102, "msg": message}))
    assert error.api_message.startswith("HTTP 200 {")


@pytest.mark.parametrize("request_id", [None, 5, ["x"]])
def test_request_id_that_is_none(request_id: object) -> None:
    assert refusal(reply({"code": 62102, "msg": "x", "requestId": request_id})).request_id is None


def test_long_texts_are_cut() -> None:
    error = refusal(reply({"code": 62102, "msg": "x" * 10_000, "requestId": "y" * 10_000}))
    assert len(str(error)) < 500


ECHOES = [
    {"code": 62102, "msg": f"bad {SECRET} here"},
    {"code": 62102, "msg": "x" * 290 + SECRET},
    {"code": 62102, "msg": "x" * 590 + SECRET},
    {"code": 62102, "msg": "no", "requestId": SECRET},
    {"code": 62102, "msg": "no", "requestId": "x" * 70 + SECRET},
    {"code": 62102, "data": SECRET},
    {"code": 0, "data": SECRET},
    {"code": 0, "data": {"flowId": SECRET}},
    {"code": 0, "data": {"flowId": "x" * 40 + SECRET}},
    {"code": 0, "data": {"flowId": 1, "graph": "{" + SECRET * 3}},
    {"data": SECRET},
    {"data": "x" * 180 + SECRET},
    [SECRET] * 1000,
]


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("body", ECHOES)
def test_secrets_are_hidden(body: object, status: int) -> None:
    """Also where the gateway echoes them, and where an excerpt cuts one in two."""
    error = refusal(reply(body, status), FLOW, ("", SECRET))
    for text in (str(error), repr(error), repr(vars(error))):
        assert SECRET[:5] not in text


AWKWARD = "s3c/r3t+ k3y=\"of\\'the\t&ä描%application"
SPELLINGS = {
    "as it is": AWKWARD,
    "JSON": json.dumps(AWKWARD)[1:-1],
    "JSON that is not ASCII": json.dumps(AWKWARD, ensure_ascii=False)[1:-1],
    "repr": repr(AWKWARD)[1:-1],
    "percent": quote(AWKWARD, safe=""),
}


@pytest.mark.parametrize("place", ["message", "request id", "text", "page", "cut"])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_secrets_are_hidden_however_they_are_spelt(spelling: str, place: str) -> None:
    """An echo of a body, of a log line or of a URL may spell a secret in another way."""
    assert len(set(SPELLINGS.values())) == len(SPELLINGS)
    response = {
        "message": lambda: reply({"code": 5, "msg": f"bad {spelling} here"}),
        "request id": lambda: reply({"code": 5, "msg": "no", "requestId": spelling}),
        "text": lambda: reply(spelling.encode()),
        "page": lambda: reply(f"<html>{spelling}</html>".encode(), 502),
        "cut": lambda: reply({"code": 5, "msg": "x" * 280 + spelling}),
    }[place]()
    error = refusal(response, FLOW, (AWKWARD,))
    shown = f"{error} {vars(error)}"
    assert "***" in shown
    assert not any(part in shown for part in ("s3c", "r3t", "k3y", "application"))


@pytest.mark.parametrize(
    "body",
    [{"code": 0, "data": {"flowId": AWKWARD}}, {"code": 5, "x": AWKWARD}, {"x": [AWKWARD]}, {"code": 0, AWKWARD: 1}],
)
def test_secrets_are_hidden_where_we_spell_them(body: object) -> None:
    """Messages show a reply as JSON or as Python writes it."""
    error = refusal(reply(body), FLOW, (AWKWARD,))
    shown = f"{error} {vars(error)}"
    assert not any(part in shown for part in ("s3c", "r3t", "k3y", "application"))


@pytest.mark.parametrize(
    "message",
    [
        "accessToken=a-living-token",
        "no such user (accessToken=a-living-token, orgId=o1)",
        "accessToken: a-living-token",
        '{"accessToken": "a-living-token"}',
        "{'access_token': 'a-living-token'}",
        "apim-accesstoken: a-living-token; body: ",
        "ACCESSTOKEN=a-living-token",
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_token_in_a_refusal_is_hidden(message: str, status: int) -> None:
    """Also a token that is not known here."""
    for body in ({"code": 62102, "msg": message}, {"message": message}):
        if status == 400 or "code" in body:
            error = refusal(reply(body, status))
            assert "a-living" not in f"{error} {vars(error)}"
            assert "***" in error.api_message


@given(st.integers(0, 8200), st.integers(1, 300), st.sampled_from(["flowId", "graph", "x"]))
def test_secrets_are_hidden_wherever_they_are(before: int, times: int, field: str) -> None:
    for body in (
        {"code": 0, "data": {field: "x" * before + SECRET * times}},
        {"code": 5, "msg": "x" * before + SECRET * times},
        {field: "x" * (before % 300) + SECRET * times},
    ):
        assert SECRET[:5] not in str(refusal(reply(body), FLOW, (SECRET,)))


@pytest.mark.parametrize(
    "envelope",
    [
        {"stauts": 0, "data": {"accessToken": "a-living-token", "expire": 7200}},
        {"status": 1005, "data": {"accessToken": "a-living-token"}},
        {"status": 0, "data": {"accessToken": "a-living-token", "expire": "soon"}},
        {"status": 0, "data": {"accessToken": ["a-living-token"], "expire": 1}},
        {"status": 0, "data": ["a-living-token"]},
        {"status": 0, "data": "a-living-token"},
        {"access-token": "a-living-token"},
        {"data": {"token": "a-living-token"}},
    ],
)
def test_token_in_a_reply_that_is_not_understood(envelope: object) -> None:
    """The sample of the documentation misspells ``status``, so the token in the reply is not known as one."""
    assert "a-living" not in str(refusal(reply(envelope), TOKEN))


# Bounds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("Sun, 13 Sep 2020 12:27:10 GMT", 30.0),
        ("Sun, 13 Sep 2020 12:27:10 -0000", 30.0),
        ("Sun, 13 Sep 2020 12:27:10 +0000", 30.0),
        ("Sun, 13 Sep 2020 20:27:10 +0800", 30.0),
        ("Sun, 13 Sep 2020 12:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 20, None),
        ("Sun, 13 Sep 99999 12:00:00 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert replies.retry_after(reply(**{"retry-after": text}), 1_600_000_000.0) == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 13 Sep 2020 12:26:40 GMT", 1_600_000_000.0),
        ("Sun, 13 Sep 2020 12:26:40 -0000", 1_600_000_000.0),
        ("Sun, 13 Sep 2020 12:26:40", 1_600_000_000.0),
        ("Sun, 13 Sep 2020 14:26:40 +0200", 1_600_000_000.0),
        ("", None),
        ("yesterday", None),
        ("Sun, 99 Sep 2020 12:26:40 GMT", None),
        ("Sun, 13 Sep 99999 12:26:40 -0000", None),
    ],
)
def test_epoch_seconds(monkeypatch: pytest.MonkeyPatch, text: str, moment: float | None) -> None:
    """A time without a zone is UTC, whatever the zone of the worker."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert replies.epoch_seconds(text) == moment
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_retry_after() -> None:
    assert replies.retry_after(reply(), 1_600_000_000.0) is None


@given(st.text())
def test_retry_after_of_any_text(text: str) -> None:
    found = replies.retry_after(reply(**{"retry-after": text}), 1_600_000_000.0)
    assert found is None or found >= 0


@given(
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {}, optional={"code": json_values, "status": json_values, "msg": json_values, "data": json_values}
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([200, 204, 302, 400, 401, 429, 500, 503, 599]),
    st.sampled_from([FLOW, TIME, TOKEN, calls.trigger_flow(1, 2), calls.get_flow_instance("1-2")]),
)
def test_any_reply_is_read_or_refused(body: bytes, status: int, call: Any) -> None:
    said = ""
    try:
        replies.read(call, Response(status, {}, body))
    except (EnosApiError, EnosReplyError) as error:
        said = str(error)
    assert len(said) < 600
