"""Secrets are in no log, message or representation."""

from __future__ import annotations

import io
import logging
import re
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hook_fixtures import MINUTE, TRIGGER_TIME, MakeHook

from airflow_provider_enos import errors
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.simulator import FAULTS, EnosSimulator
from airflow_provider_enos.simulator.wire import Reply, Request


class Wiretap(EnosSimulator):
    """Keeps every token, signature and digest that goes over the wire: the simulator's records leave them out."""

    def __init__(self, **options: Any) -> None:
        self.heard: set[str] = set()
        super().__init__(**options)

    def respond(self, request: Request, send: Callable[[Reply], None]) -> None:
        headers = (request.headers.get(f"apim-{name}", "") for name in ("accesstoken", "signature"))
        self.heard.update(filter(None, headers))
        self.heard.update(re.findall(r'"encryption":"(\w+)"', request.body.decode()))

        def overheard(reply: Reply) -> None:
            self.heard.update(re.findall(r"APP_PORTAL_S_[\w-]+", reply.body[:4096].decode("utf-8", "replace")))
            send(reply)

        super().respond(request, overheard)


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Any:
    """All that anybody could read: every logger at its most talkative, warnings, both streams."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    names = ("", "urllib3", "urllib3.connectionpool", "requests", "http.client", "airflow", "airflow_provider_enos")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")

        def everything() -> str:
            out, err = capfd.readouterr()
            stream.write(out + err + "".join(str(one.message) for one in warned))
            return stream.getvalue()

        yield stream.write, everything
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def no_secret_in(text: str, sim: Wiretap, *more: str) -> None:
    """Not even 18 characters of one."""
    assert sim.heard
    for secret in (sim.secret_key, *sim.heard, *more):
        random_part = secret.removeprefix("APP_PORTAL_S_")
        for place in range(0, len(random_part) - 11, 6):
            assert random_part[place : place + 12] not in text


def tell(write: Callable[[str], Any], hook: EnosHook, error: BaseException | None = None) -> None:
    """Writes down what a debugger, a log or a crash report would show."""
    shown: list[Any] = [hook, hook.settings, hook.client, hook.client.gateway, vars(hook)]
    shown += [vars(hook.client), getattr(hook.client.gateway, "_token", None)]
    while error is not None:
        shown += [error, error.args, vars(error)]
        write("".join(traceback.format_exception(error)) + str(error))
        error = error.__cause__ or error.__context__
    write("\n".join(f"{one!r} {one}" for one in shown))


@pytest.mark.parametrize("operations", [("token/get",), ("flowInstances/get", "flows/triggerFromTask")])
@pytest.mark.parametrize("kind", FAULTS)
def test_secrets_are_said_nowhere(said: Any, hook_for: MakeHook, kind: str, operations: tuple[str, ...]) -> None:
    """Whatever the gateway answers, also where it repeats what it was sent; and where all is well."""
    write, everything = said
    options = {"seconds": 0.2} if kind in ("slow", "slow_before") else {}
    takes_its_time = kind in ("slow", "slow_before", "drip", "huge_body")
    with Wiretap(secret_key="the-secret-key-of-the-simulator") as sim:
        sim.trigger(3377, 108580, TRIGGER_TIME + MINUTE)
        hook = hook_for(sim, timeout=0.1 if kind in ("slow", "slow_before", "drip") else 5)
        for operation in operations:
            sim.fault(kind, on=operation, times=1 if takes_its_time else None, **options)
        for ask in (
            lambda: hook.get_flow_instance("3377-20200706062700"),
            lambda: hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME),
            hook.test_connection,
        ):
            try:
                write(repr(ask()))
            except errors.EnosError as error:
                tell(write, hook, error)
        sim.clear_faults()
        write(repr(hook_for(sim).get_flow_instance("3377-20200706062700")))
        tell(write, hook)
    no_secret_in(everything(), sim)


def test_a_wrong_secret_is_said_nowhere(said: Any, hook_for: MakeHook) -> None:
    write, everything = said
    with Wiretap() as sim:
        hook = hook_for(sim, fields={"password": "a-wrong-secret-of-some-length"})
        with pytest.raises(errors.EnosAuthError) as caught:
            hook.get_flow(3377)
        write(repr(hook.test_connection()))
        tell(write, hook, caught.value)
    no_secret_in(everything(), sim, "a-wrong-secret-of-some-length")


def test_requests_and_tokens_show_nothing_of_themselves(hook: EnosHook, sim: EnosSimulator) -> None:
    seen: list[str] = []
    send = hook.client._send

    def noting(request: Any) -> Any:
        reply = send(request)
        seen.extend((repr(request), str(request), repr(reply)))
        return reply

    hook.client._send = noting  # type: ignore[method-assign]
    hook.get_flow(3377)
    text = "".join(seen)
    assert "flows" in text
    for name in ("APP_PORTAL", "apim-signature", "encryption", sim.secret_key):
        assert name not in text
