"""Arguments are checked before anything is sent; what is refused is named with its field and its value."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.models import FlowStatus

INF, NAN = float("inf"), float("nan")


def check_refused(check: Callable[[], object], value: object, field: str = "some_field") -> None:
    with pytest.raises(EnosConfigError, match=rf"^{re.escape(field)}: .*; expected ") as raised:
        check()
    assert raised.value.field == field
    if len(repr(value)) < 80:
        assert repr(value) in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3377, 3377), ("3377", 3377), (" 3377\n", 3377), ("007", 7), (2**63 - 1, 2**63 - 1), (str(2**63 - 1), 2**63 - 1)],
)
def test_number(value: object, expected: int) -> None:
    assert arguments.number(value, "some_field") == expected


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, "0", "-1", 2**63, str(2**63), "9" * 30, "9" * 5000, 1.0, "1.0", True, False, None, "None", ""),
        *(" ", "33 77", "x", "1\x1f", "\uff13\uff13\uff17\uff17", "{{ flow }}", [3377], b"3377"),
    ],
)
def test_number_refused(value: object) -> None:
    check_refused(lambda: arguments.number(value, "some_field"), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3377-20200706062600", "3377-20200706062600"),
        (" 3377-20200706062600\n", "3377-20200706062600"),
        ("a_B.c:d-1", "a_B.c:d-1"),
        ("x" * 200, "x" * 200),
    ],
)
def test_instance(value: object, expected: str) -> None:
    assert arguments.instance(value, "some_field") == expected


@pytest.mark.parametrize(
    "value",
    ["", " ", "None", None, 3377, "a b", "a/b", "a&b=c", "-1", "a\nb", "ä", "x" * 201, "{{ ti.xcom_pull() }}", b"a"],
)
def test_instance_refused(value: object) -> None:
    check_refused(lambda: arguments.instance(value, "some_field"), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (30, 30.0),
        (0.5, 0.5),
        (timedelta(minutes=10), 600.0),
        (timedelta(days=36_500), 3_153_600_000.0),
        (3_153_600_000, 3_153_600_000.0),
    ],
)
def test_seconds(value: object, expected: float) -> None:
    found = arguments.seconds(value, "some_field")
    assert (found, type(found)) == (expected, float)


@pytest.mark.parametrize("value", [0, 0.0, timedelta(0)])
def test_seconds_may_be_zero_where_that_makes_sense(value: object) -> None:
    assert arguments.seconds(value, "some_field", zero=True) == 0.0
    check_refused(lambda: arguments.seconds(value, "some_field"), value)


@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.5, timedelta(seconds=-1), INF, -INF, NAN, 10**400, True, False, None, "30", [30]),
        *(timedelta.max, timedelta(days=36_500, microseconds=1), 3_153_600_001, 1e300),
    ],
)
def test_seconds_refused(value: object) -> None:
    """Longer than 100 years: deadlines must stay within what a clock can show."""
    check_refused(lambda: arguments.seconds(value, "some_field"), value)
    check_refused(lambda: arguments.seconds(value, "some_field", zero=True), value)


def test_choice() -> None:
    options = Literal["failed", "all"]
    assert arguments.choice("all", "some_field", options) == "all"
    for value in ("none", "", None, ["all"], "ALL"):
        check_refused(lambda value=value: arguments.choice(value, "some_field", options), value)  # type: ignore[misc]
    with pytest.raises(EnosConfigError, match='expected one of "failed", "all"'):
        arguments.choice("some", "some_field", options)


@pytest.mark.parametrize("value", [{}, {"a": "b"}, {"a": ""}, OrderedDict(a="b"), {"描述": "ä"}, {"a": "\U0001f600\n"}])
def test_parameters(value: Any) -> None:
    found = arguments.parameters(value)
    assert (found, type(found)) == (dict(value), dict)


def test_a_whole_number_is_taken_for_its_digits() -> None:
    """As native rendering makes it of a text."""
    given = {"day": 20240302, "zero": 0, "less": -5, "long": 10**30}
    assert arguments.parameters(given) == {name: str(number) for name, number in given.items()}
    assert arguments.parameters_or_none({"a": 1}) == {"a": "1"}
    assert arguments.parameters_or_none(None) is None


@pytest.mark.parametrize("value", [None, [], "a=b", [("a", "b")], 5])
def test_parameters_refused(value: object) -> None:
    check_refused(lambda: arguments.parameters(value), value, "parameters")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("a", 1.0), ("a", True), ("a", None), ("", "b"), (1, "b"), ("a", ["b"]), ("a", {"b": "c"})),
        *(("a", "\ud83d"), ("a", "x\ude00y"), ("\udc80", "b"), ("a\ud83d", "\ude00b")),
    ],
)
def test_parameter_refused(name: Any, text: Any) -> None:
    """Also half a character, which could not be sent."""
    check_refused(lambda: arguments.parameters({"good": "x", name: text}), text, f"parameters[{name!r}]")


def test_a_number_that_python_does_not_write_is_refused() -> None:
    with pytest.raises(EnosConfigError, match="a int of great length; expected a text or a whole number"):
        arguments.parameters({"a": 10**5000})


@pytest.mark.parametrize("value", [True, False])
def test_flag(value: bool) -> None:
    assert arguments.flag(value, "some_field") is value
    assert arguments.flag_or_none(value, "some_field") is value
    assert arguments.flag_or_none(None, "some_field") is None


@pytest.mark.parametrize("value", ["false", "True", "", 0, 1, 0.0, [], {}, object()])
def test_flag_refused(value: object) -> None:
    """Also what Python takes for true or false."""
    check_refused(lambda: arguments.flag(value, "some_field"), value)
    check_refused(lambda: arguments.flag_or_none(value, "some_field"), value)
    with pytest.raises(EnosConfigError):
        arguments.flag(None, "some_field")


@pytest.mark.parametrize("value", ["{{ x }}", "a{% if b %}", "3377{# c #}"])
def test_template(value: str) -> None:
    assert arguments.is_template(value)
    assert arguments.unless_template(arguments.number, value, "some_field") == value


@pytest.mark.parametrize("value", ["", "{ x }", "}}", "%}", None, 3377, ["{{ x }}"]])
def test_no_template(value: Any) -> None:
    assert not arguments.is_template(value)


def test_value_without_a_template_is_checked_and_stays_as_it_is() -> None:
    assert arguments.unless_template(arguments.number, " 3377", "some_field") == " 3377"
    check_refused(lambda: arguments.unless_template(arguments.number, "x", "some_field"), "x")


def test_statuses_have_one_order() -> None:
    names = ("FAIL", "INTERNAL_ERROR", "TIMEOUT", "CANCEL")
    for one in (set(names), names[::-1], [*names, *names], frozenset(map(FlowStatus.__getitem__, names))):
        assert arguments.status_names(one, "some_field") == names
    assert arguments.status_names("cancel", "some_field") == ("CANCEL",)
    assert arguments.status_names((), "some_field") == ()


@pytest.mark.parametrize("value", [0, 60, -10800, 86_400.0, timedelta(hours=-3), timedelta()])
def test_shift(value: Any) -> None:
    found = arguments.shift(value, "some_field")
    assert found == (value.total_seconds() if isinstance(value, timedelta) else value)
    assert type(found) is float


@pytest.mark.parametrize(
    "value", [3, -1, 0.5, 90, timedelta(seconds=61), timedelta(microseconds=1), INF, NAN, True, "60", None]
)
def test_shift_refused(value: Any) -> None:
    """Parts of a minute, too, which EnOS does not count."""
    check_refused(lambda: arguments.shift(value, "some_field"), value)


@pytest.mark.parametrize("value", ["enos_default", "a-b.c", "123"])
def test_connection_id(value: str) -> None:
    assert arguments.connection_id(value) == value


@pytest.mark.parametrize("value", ["", " ", "None", None, 123, True, ["a"], "a\nb", "x" * 251])
def test_connection_id_refused(value: object) -> None:
    check_refused(lambda: arguments.connection_id(value), value, "enos_conn_id")


@pytest.mark.parametrize("value", [None, "", "o15504722874071"])
def test_tenant(value: str | None) -> None:
    assert arguments.tenant(value, "some_field") == value


@pytest.mark.parametrize("value", [3377, True, ["o"], b"o", "a\nb", "\x00"])
def test_tenant_refused(value: object) -> None:
    check_refused(lambda: arguments.tenant(value, "some_field"), value)


@pytest.mark.parametrize("value", ["", "somebody", "3377", "ä 描述", "x" * 1000])
def test_text(value: str) -> None:
    assert arguments.text(value, "some_field") == value


@pytest.mark.parametrize("value", [None, 3377, True, object(), ["a"], b"a", "a\nb", "\x00", "\ud83d", "x" * 1001])
def test_text_refused(value: object) -> None:
    check_refused(lambda: arguments.text(value, "some_field"), value)


@pytest.mark.parametrize("value", ["new", " a b ", "ä 描述", "62e3038840514caf9af60ad36878851e", "x" * 1000])
def test_name(value: str) -> None:
    assert arguments.name(value, "some_field") == value


@pytest.mark.parametrize("value", [None, 3377, "", " ", True, ["a"], b"a", "a\nb", "\x00", "\ud83d", "x" * 1001])
def test_name_refused(value: object) -> None:
    check_refused(lambda: arguments.name(value, "some_field"), value)


@pytest.mark.parametrize("value", ["", "two\nlines\t", "ä 描述 \U0001f600", "x" * 5000])
def test_prose(value: str) -> None:
    assert arguments.prose(value, "some_field") == value


@pytest.mark.parametrize("value", [None, 3377, True, ["a"], b"a", "\ud83d", "x\ude00y"])
def test_prose_refused(value: object) -> None:
    check_refused(lambda: arguments.prose(value, "some_field"), value)


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.integers()))
def test_anything_is_taken_or_refused(value: Any) -> None:
    for check in (
        arguments.number,
        arguments.instance,
        arguments.seconds,
        arguments.parameters,
        arguments.text,
        arguments.name,
        arguments.prose,
    ):
        named = "some_field"
        try:
            check(value, "some_field")
        except EnosConfigError as error:
            named = error.field
        assert named == "some_field"
