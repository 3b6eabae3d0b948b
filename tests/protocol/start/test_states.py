"""What a request that met an error means: one table."""

from __future__ import annotations

import pytest
from starts import CONFLICT, LOST, UNSENT, never_sent, refusal

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerError,
)
from airflow_provider_enos.protocol.start.starting import STEPS
from airflow_provider_enos.protocol.start.states import Ask, Cancel, Fate, Find, LookBack, Taken, fate_of

FATES = [
    (CONFLICT, Fate.TAKEN, Fate.TAKEN),
    (UNSENT, Fate.NOT_CARRIED_OUT, Fate.NOT_CARRIED_OUT),
    (refusal(EnosRateLimitError, 429), Fate.NOT_CARRIED_OUT, Fate.NOT_CARRIED_OUT),
    (never_sent(refusal(EnosServerError, 503)), Fate.NOT_CARRIED_OUT, Fate.NOT_CARRIED_OUT),
    (never_sent(EnosReplyError("garbage")), Fate.NOT_CARRIED_OUT, Fate.NOT_CARRIED_OUT),
    (refusal(EnosAuthError, 401), Fate.REFUSED, Fate.UNKNOWN),
    (refusal(EnosAccessError, 62103), Fate.REFUSED, Fate.UNKNOWN),
    (refusal(EnosRequestError, 62104), Fate.REFUSED, Fate.UNKNOWN),
    (refusal(EnosNotFoundError, 404), Fate.REFUSED, Fate.UNKNOWN),
    (refusal(EnosApiError, 99999), Fate.REFUSED, Fate.UNKNOWN),
    (never_sent(refusal(EnosAuthError, 1003)), Fate.REFUSED, Fate.UNKNOWN),
    (never_sent(refusal(EnosRequestError, 62102)), Fate.REFUSED, Fate.UNKNOWN),
    (EnosTransportError("not trusted", sent=False, tls=True), Fate.REFUSED, Fate.UNKNOWN),
    (never_sent(EnosTriggerError("killed")), Fate.REFUSED, Fate.UNKNOWN),
    (LOST, Fate.UNKNOWN, Fate.UNKNOWN),
    (EnosTransportError("broken", sent=True, tls=True), Fate.UNKNOWN, Fate.UNKNOWN),
    (EnosReplyError("garbage"), Fate.UNKNOWN, Fate.UNKNOWN),
    (refusal(EnosServerError, 503), Fate.UNKNOWN, Fate.UNKNOWN),
    (refusal(EnosServerError, 1001), Fate.UNKNOWN, Fate.UNKNOWN),
]


@pytest.mark.parametrize(("error", "plain", "sent_again"), FATES, ids=lambda value: getattr(value, "name", repr(value)))
def test_fate_of_a_request(error: EnosError, plain: Fate, sent_again: Fate) -> None:
    """Where it was sent again after a refusal that may hide a success, only what surely was not sent is sure."""
    assert fate_of(error) is plain
    error.repeated = True
    try:
        assert fate_of(error) is sent_again
    finally:
        del error.repeated


def test_each_state_but_the_last_has_a_step() -> None:
    assert set(STEPS) == {Cancel, LookBack, Ask, Find, Taken}
