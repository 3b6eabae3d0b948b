from __future__ import annotations

from fake_tenant import api_error

from airflow_provider_enos.client.polling.list_pauses import ListPauses
from airflow_provider_enos.errors import EnosAccessError, EnosRateLimitError, EnosServerError


def test_a_list_that_fails_is_asked_for_again_later_each_time() -> None:
    passing = api_error(EnosServerError)
    pauses = ListPauses()
    assert [pauses.failed(passing) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    pauses.worked()
    assert pauses.failed(passing) == 5
    refused = ListPauses()
    assert [refused.failed(api_error(EnosAccessError, 62103)) for _ in range(6)] == [60, 120, 240, 480, 600, 600]
    assert ListPauses().failed(TimeoutError()) == 60
    assert ListPauses().failed(None) == 5


def test_a_quota_says_for_how_long() -> None:
    busy = api_error(EnosRateLimitError, 429)
    assert isinstance(busy, EnosRateLimitError)
    busy.retry_after = 30.0
    assert ListPauses().failed(busy) == 30
    busy.retry_after = 3600.0
    assert ListPauses().failed(busy) == 60
