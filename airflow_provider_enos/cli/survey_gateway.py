"""How to ask about the gateway itself: zone, clock, errors, signatures, tokens."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_enos.cli.survey_answers import (
    ENDED_LONG_AGO,
    Answer,
    Asked,
    agreed,
    unknown,
)
from airflow_provider_enos.cli.survey_scene import (
    Scene,
    read,
)
from airflow_provider_enos.errors import EnosApiError, EnosReplyError
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Exchange


def time_zone(scene: Scene) -> Asked:
    """Ask for the zone that Get Timezone names."""
    yield from ()
    if not scene.zone_text:
        return unknown("Get Timezone names no zone")
    sign, hours = scene.zone_text[3:4], scene.zone_text[4:]
    # The simulator knows whole hours only.
    known = scene.zone_text[:3] == "GMT" and sign in ("+", "-") and hours.isdecimal() and len(hours) <= 2
    fits = known and int(hours) <= 14 and (len(hours) == 1 or hours[0] == "1")
    return Answer(scene.zone_text if fits else None, scene.zone_text)


def clock_skew(scene: Scene) -> Asked:
    """Ask the gateway's clock, and compare it with our own. Of three replies the fastest counts."""
    best: tuple[float, float] | None = None
    call = calls.get_current_time()
    for _ in range(3):
        before = scene.gateway.local_time()
        there = read(call.parse, (yield from scene.ask(call)))
        after = scene.gateway.local_time()
        if there is not None and (best is None or after - before < best[0]):
            best = after - before, there / 1000 - (before + after) / 2
    if best is None:
        return unknown("Get Current Time tells no time")
    took, ahead = best
    skew = 0.0 if abs(ahead) <= 1 + took / 2 else float(round(ahead))
    if not skew:
        return Answer(0.0, "its clock and this machine's agree")
    return Answer(skew, f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's")


def http_status(scene: Scene) -> Asked:
    """Ask for an instance or a log that does not exist, and look at the HTTP status of the refusal."""
    seen = yield from scene.ask(calls.get_flow_instance(f"{scene.flow_id}-{ENDED_LONG_AGO}"))
    if not seen.refused or seen.code is None:
        # This gateway answers with code 0 for an instance that is not there.
        seen = yield from scene.ask(calls.get_task_instance_log(f"1-{ENDED_LONG_AGO}"))
    if seen.code in (None, 0):
        return unknown("nothing was refused with a code")
    return Answer(
        seen.http_status if seen.http_status in (200, 400) else None, f"HTTP {seen.http_status} with code {seen.code}"
    )


def request_id(scene: Scene) -> Asked:
    """Ask for something that exists, and for something that does not: do both replies carry a requestId?"""
    good = yield from scene.ask(calls.get_time_zone())
    bad = yield from scene.ask(calls.get_task_instance_log(f"1-{ENDED_LONG_AGO}"))
    has = [bool(seen.envelope.get("requestId")) for seen in (good, bad) if seen.code is not None]
    return agreed(has, "no reply has a code")


def replayed_call(scene: Scene) -> Asked:
    """Send the same signed request twice, which only reads."""
    first, second = yield from scene.ask_twice(calls.get_current_time())
    if not first.accepted:
        return unknown(first.problem)
    if second.accepted:
        return Answer("accepted")
    refused = second.http_status == 401 or second.code in (1001, 1003)
    return Answer("refused") if refused else unknown(second.problem)


def _refresh(scene: Scene) -> Exchange[dict[str, Answer]]:
    """Refresh the token once, for three questions."""
    if scene.no_refresh:
        return dict.fromkeys(("changes", "revokes", "refused"), unknown("--no-refresh was given"))
    try:
        found = yield from scene.gateway.refresh(scene.tenant)
    except (EnosApiError, EnosReplyError) as error:
        return dict.fromkeys(("changes", "revokes", "refused"), unknown(str(error)))
    if not found.changed:
        same = unknown("the token is the same after Refresh")
        return {"changes": Answer(False), "revokes": same, "refused": same}
    answers = {"changes": Answer(True), "refused": unknown("the old token is still accepted")}
    if not found.new.accepted:
        return {**answers, "revokes": unknown(found.new.problem), "refused": unknown(found.new.problem)}
    if found.old.accepted:
        return {**answers, "revokes": Answer(False)}
    if found.old.code is None and found.old.http_status == 401:
        return {**answers, "revokes": Answer(True), "refused": Answer("http")}
    if found.old.code == 1203:
        return {**answers, "revokes": Answer(True), "refused": Answer("envelope")}
    other = unknown(f"neither code 1203 nor HTTP 401: {found.old.problem}")
    return {**answers, "revokes": Answer(True), "refused": other}


def of_refresh(part: str) -> Callable[[Scene], Asked]:
    """Return how to ask for one part of what a refresh of the token does. The token is refreshed once."""

    def ask(scene: Scene) -> Asked:
        if scene.refreshed is None:
            scene.refreshed = yield from _refresh(scene)
        found: Answer = scene.refreshed[part]
        return found

    return ask
