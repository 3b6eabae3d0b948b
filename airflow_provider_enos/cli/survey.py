"""Ask a gateway the open questions, and write down what a simulator needs to behave alike."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_provider_enos.cli.runner import Failure, Invocation, UsageError
from airflow_provider_enos.cli.survey_answers import Answer, unknown
from airflow_provider_enos.cli.survey_questions import NOT_ASKED, QUESTIONS, Question
from airflow_provider_enos.cli.survey_scene import Scene, Wanted, look_around
from airflow_provider_enos.errors import EnosApiError, EnosError, EnosReplyError
from airflow_provider_enos.protocol.wire.exchange import Tenant
from airflow_provider_enos.protocol.wire.messages import Exchange
from airflow_provider_enos.protocol.wire.probes import ProbingGateway


@dataclass(frozen=True, slots=True)
class Finding:
    """A question with its answer."""

    question: Question
    answer: Answer

    @property
    def said(self) -> str:
        """What the gateway does, in words."""
        return self.answer.said or self.question.says.get(self.answer.value, str(self.answer.value))

    @property
    def told(self) -> bool:
        """Whether the answer is known."""
        return self.answer.value is not None or not self.said.startswith("unknown")


def survey(call: Invocation) -> list[Finding]:
    """Ask all questions of the gateway of this connection. Raise the ``EnosError`` if it does not let us in."""
    wanted = _wanted(call)
    if call.options.write is not None and not call.options.write.absolute().parent.is_dir():
        raise UsageError(f"--write {call.options.write}: its folder does not exist")
    settings = call.hook.settings
    gateway = ProbingGateway(
        settings.base_url, settings.access_key, settings.secret_key, clock=time.time, jitter=random.random
    )
    scene = Scene(
        gateway,
        Tenant(settings.org_id, settings.user_id),
        call.terminal.progress,
        no_refresh=call.options.no_refresh,
    )
    if wanted is not None:
        look = call.next_command("instances", str(wanted.flow_id))
        call.terminal.when_interrupted = f"Flow {wanted.flow_id} may have been started. To look: {look}"
    try:
        return call.hook.client.exchange(_ask_all(scene, wanted))
    except (EnosError, Failure):
        if scene.run_requested:
            call.terminal.note(call.terminal.when_interrupted)
        raise


def show(call: Invocation, findings: Sequence[Finding]) -> None:
    """Print the findings as a table, or as JSON."""
    if call.terminal.as_json:
        call.terminal.json({"questions": [_as_json(one) for one in findings], "not_asked": dict(NOT_ASKED)})
        return
    rows = [(one.question.text, one.said, one.question.meets) for one in findings]
    call.terminal.table(("question", "what your gateway does", "how the package meets it"), rows)


def write(findings: Sequence[Finding], path: Path) -> int:
    """Write the switches of a simulator that behaves alike. Return how many. Raise ``Failure``."""
    switches = {one.question.switch: one.answer.value for one in findings if one.question.switch}
    known = {name: value for name, value in switches.items() if value is not None}
    content = {
        "surveyed": datetime.now(UTC).isoformat(timespec="seconds"),
        "switches": known,
        "unknown": sorted({*switches, *NOT_ASKED} - known.keys()),
    }
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}: {error}") from error
    return len(known)


def _wanted(call: Invocation) -> Wanted | None:
    options = call.options
    if options.trigger is None:
        if options.from_task is not None:
            raise UsageError("--from-task goes with --trigger only")
        return None
    return Wanted(options.trigger, options.from_task, options.poll_interval, options.timeout)


def _ask_all(scene: Scene, wanted: Wanted | None) -> Exchange[list[Finding]]:
    yield from look_around(scene, wanted)
    findings = []
    for number, question in enumerate(QUESTIONS, 1):
        scene.note(f"question {number} of {len(QUESTIONS)}")
        try:
            answer = yield from question.ask(scene)
        except (EnosApiError, EnosReplyError) as error:
            answer = unknown(str(error))
        findings.append(Finding(question, answer))
    return findings


def _as_json(finding: Finding) -> dict[str, Any]:
    question = finding.question
    return {
        "question": question.text,
        "switch": question.switch or None,
        "value": finding.answer.value,
        "known": finding.told,
        "answer": finding.said,
        "package": question.meets,
    }
