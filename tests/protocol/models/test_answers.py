"""Replies that are one value."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol import models
from airflow_provider_enos.protocol.models import AccessToken


@pytest.mark.parametrize("data", [{"flowInstanceId": ""}, {"flowInstanceId": " "}, {}, "", None, []])
def test_trigger_without_an_id(data: object) -> None:
    """An answer without an id does not tell what was started."""
    with pytest.raises(EnosReplyError, match="answer to the trigger"):
        models.flow_instance_id_of(data)


@pytest.mark.parametrize("given", ["3377-20200706062600", "odd-1", "a_B.c:d", 3377])
def test_id_of_a_trigger(given: object) -> None:
    assert models.flow_instance_id_of({"flowInstanceId": given}) == str(given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a b", "'a b'"),
        ("None", "'None'"),
        ("", "''"),
        ("3377-1\n", r"'3377-1\\n'"),
        ("\ud83d", "'\\?'"),
        ("3377-\udc80", "'3377-\\?'"),
        ("a/b", "'a/b'"),
        ("-1", "'-1'"),
        ("x" * 201, "'x+…"),
    ],
)
def test_id_of_a_trigger_that_cannot_be_one(given: str, shown: str) -> None:
    """Such an id cannot be looked up, so the reply counts as lost and the instance is looked for."""
    with pytest.raises(EnosReplyError, match=rf"^answer to the trigger: flowInstanceId: {shown} is no instance id$"):
        models.flow_instance_id_of({"flowInstanceId": given})


@pytest.mark.parametrize("data", [{"flowId": 2839}, {"flowId": "2839"}, {"flow_id": 2839}, [{"flowId": 2839}]])
def test_id_of_a_flow(data: object) -> None:
    assert models.flow_id_of(data) == 2839


@pytest.mark.parametrize("data", [{"dirId": "62e3"}, {"dir_id": "62e3"}, [{"dirId": "62e3"}]])
def test_id_of_a_directory(data: object) -> None:
    assert models.directory_id_of(data) == "62e3"


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        (models.flow_id_of, {}, "answer with a flow: flowId is missing"),
        (models.flow_id_of, "", "answer with a flow: expected an object, got ''"),
        (models.flow_id_of, {"flowId": "new"}, "answer with a flow: flowId: expected a whole number, got 'new'"),
        (models.directory_id_of, {}, "answer with a directory: dirId is missing"),
        (models.directory_id_of, None, "answer with a directory: expected an object, got nothing"),
        (
            models.directory_id_of,
            {"dirId": " "},
            "answer with a directory: dirId: expected the id of a directory, got ' '",
        ),
    ],
)
def test_answer_without_an_id(parse: Any, data: object, message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        parse(data)
    assert str(raised.value) == message


@pytest.mark.parametrize("data", [None, "soon", 1.5, True, {}, []])
def test_no_time(data: object) -> None:
    with pytest.raises(EnosReplyError, match="expected epoch milliseconds"):
        models.current_time_of(data)


def test_token() -> None:
    token = AccessToken.parse({"accessToken": "a-token", "expire": "7200"})
    assert (token.value, token.expire) == ("a-token", 7200.0)
    assert repr(token) == "AccessToken(expire=7200.0)"


@pytest.mark.parametrize(
    "data",
    [
        "a-token",
        ["a-token"],
        {"accessToken": ["a-token"], "expire": 1},
        {"accessToken": "a-token"},
        {"accessToken": "a-token", "expire": "a-token"},
        {"accessToken": "a-token", "expire": 10**400},
        {"accessToken": "a-token\r\nx: y", "expire": 1},
        {"accessToken": "a-tokenä", "expire": 1},
        {"accessToken": " ", "expire": 1},
        {"accessToken": "", "expire": 1},
        {"expire": 1},
    ],
)
def test_bad_token_is_not_shown(data: object) -> None:
    """Nor could one that does not fit into a header be sent."""
    with pytest.raises(EnosReplyError, match=r"^access token: ") as raised:
        AccessToken.parse(data)
    assert "a-token" not in str(raised.value)
