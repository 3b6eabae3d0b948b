"""Which errors a wait goes on with, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_enos.errors import EnosAuthError, EnosError, EnosRequestError, EnosServerError, EnosTransportError
from airflow_provider_enos.protocol.patience import Patience

LOST = EnosTransportError("read timed out", sent=True)
BUSY = EnosServerError(62109, "Internal error.", operation="Get Flow", http_status=200)
REFUSED = EnosRequestError(62102, "no", operation="Get Flow", http_status=200)
WRONG_KEY = EnosAuthError(401, "no", operation="Get Flow", http_status=401)


@pytest.mark.parametrize(
    ("error", "known", "ends"),
    [
        *((error, known, False) for error in (LOST, BUSY) for known in (False, True)),
        (REFUSED, False, True),
        (REFUSED, True, False),
        (WRONG_KEY, True, True),
    ],
)
def test_which_errors_end_a_wait(log: Any, error: EnosError, known: bool, ends: bool) -> None:
    patience = Patience("it", tolerance=60, log=log, known=known)
    if ends:
        with pytest.raises(type(error)):
            patience.missed(error, 1000)
        assert patience.failing_since is None
    else:
        assert patience.missed(error, 1000) is None


def test_it_lasts_as_long_as_is_tolerated(log: Any) -> None:
    patience = Patience("it", tolerance=60, log=log)
    assert [patience.missed(LOST, now) for now in (1000, 1059, 1060, 1061)] == [None, None, 60, 61]
    assert log.lines == ["warning: Cannot ask EnOS for it, will go on trying for 60 s: read timed out"]


def test_an_answer_starts_it_anew(log: Any) -> None:
    patience = Patience("it", tolerance=60, log=log)
    patience.answered(990)
    patience.missed(LOST, 1000)
    patience.answered(1030)
    assert log.lines[1:] == ["info: EnOS answers again for it, after 30 s"]
    assert patience.missed(LOST, 1080) is None


@pytest.mark.parametrize(("since", "kept"), [(1000, 1000), (1000.5, 1000.5), (None, None), ("x", None)])
def test_what_it_takes_up_from_another(log: Any, since: object, kept: float | None) -> None:
    patience = Patience("it", tolerance=60, log=log)
    patience.remember(since)
    assert patience.failing_since == kept
