"""Questions about the gateway itself."""

from __future__ import annotations

from typing import Any

from surveys import answers

from airflow_provider_enos.simulator import EnosSimulator


def test_the_token_can_be_kept(enos: Any, connection: EnosSimulator) -> None:
    ran = enos("survey", "-o", "json", "--no-refresh")
    assert connection.count("token/refresh") == 0
    assert not answers(ran.json).keys() & {"refresh_changes_token", "refresh_revokes_old", "refused_token"}
