"""``python -m airflow_provider_enos.simulator``: print the connection to export, then log a line for each request.

With ``--state FILE`` the flows and instances outlive a restart.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_provider_enos.simulator.built_in_flows import BUILT_IN_FLOWS
from airflow_provider_enos.simulator.config import SWITCHES, Switch
from airflow_provider_enos.simulator.simulator import EnosSimulator
from airflow_provider_enos.simulator.wire import Record

_PORT_TAKEN = 2
_STATE_LOST = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a simulator until SIGINT or SIGTERM. Return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        sim = _simulator(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    ended = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: ended.set())
    if not options.quiet:
        sim.on_event(_log)
    try:
        sim.start()
    except (OSError, OverflowError) as error:
        print(f"Cannot listen on {options.host}, port {options.port}: {error}.", file=sys.stderr)
        return _PORT_TAKEN
    print(f"export AIRFLOW_CONN_ENOS_DEFAULT={shlex.quote(sim.connection_json)}", flush=True)
    ended.wait()
    sim.stop()
    return _save(sim, options.state)


def _parser() -> argparse.ArgumentParser:
    defaults = EnosSimulator()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_enos.simulator",
        description="An EnOS API gateway on this machine, to try and test workflows against. Its control path,\n"
        "/_simulator/, takes faults, holds (requests stop until they are released), flows and ends of instances.",
        epilog="\n".join(
            [
                "built-in flows:",
                *(f"  {flow_id}  {about}" for flow_id, about in BUILT_IN_FLOWS.items()),
                "",
                "switches, with their defaults:",
                *map(_describe, SWITCHES.values()),
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default=defaults.host, metavar="ADDRESS", help="address to listen on; 0.0.0.0: all addresses"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="allow requests to this name, such as host.docker.internal, besides those to localhost and to the\n"
        "addresses of this machine. May be given more than once",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    for name in ("access_key", "secret_key", "org_id", "user_id"):
        parser.add_argument(f"--{name.replace('_', '-')}", default=getattr(defaults, name))
    parser.add_argument("--token-lifetime", type=float, default=defaults.token_lifetime, metavar="SECONDS")
    parser.add_argument(
        "--progress",
        default=str(defaults.progress),
        help="how instances progress: at_once; polls:N; seconds:S; nodes (each node takes its own seconds); manual",
    )
    parser.add_argument(
        "--poseidon",
        choices=("refuse", "accept"),
        default=defaults.poseidon,
        help="calls of the vendor's SDK, which only EnOS can verify (default: refuse)",
    )
    parser.add_argument("--no-schedules", action="store_true", help="do not run flows by their own schedules")
    parser.add_argument(
        "--switches",
        type=Path,
        metavar="FILE",
        help="behave as the gateway for which airflow enos survey --write FILE has written it. --switch comes on top",
    )
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="see below")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="read flows and instances from it at the start, if it exists, and write them to it at the end",
    )
    parser.add_argument("--quiet", action="store_true", help="log no requests")
    return parser


def _describe(switch: Switch[Any]) -> str:
    choices = f" ({', '.join(map(str, switch.choices))})" if switch.choices else ""
    return f"  {switch.name}={switch.default}\n        {switch.about}{choices}"


def _simulator(options: argparse.Namespace) -> EnosSimulator:
    sim = EnosSimulator(
        host=options.host,
        port=options.port,
        allowed_hosts=options.allow_host,
        access_key=options.access_key,
        secret_key=options.secret_key,
        org_id=options.org_id,
        user_id=options.user_id,
        token_lifetime=options.token_lifetime,
        poseidon=options.poseidon,
        schedules=not options.no_schedules,
        switches=options.switches,
    )
    sim.switch({"progress": options.progress, **dict(_switch(text) for text in options.switch)})
    if options.state is not None and not options.state.absolute().parent.is_dir():
        raise ValueError(f"--state {options.state}: its folder does not exist")
    if options.state is not None and options.state.exists():
        sim.load(options.state)
    return sim


def _save(sim: EnosSimulator, path: Path | None) -> int:
    try:
        if path is not None:
            sim.save(path)
    except OSError as error:
        print(f"Cannot write the state to {path}: {error}.", file=sys.stderr)
        return _STATE_LOST
    return 0


def _switch(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        # The help and the messages spell them True and False, JSON does not.
        return name, json.loads(value.lower() if value in ("True", "False") else value)
    except ValueError:
        return name, value


def _log(event: str, record: Record) -> None:
    if event != "replied":
        return
    print(
        time.strftime("%H:%M:%S"),
        record.method,
        record.operation if record.resource else record.path,
        f"HTTP {record.status or 'dropped'}",
        "code -" if record.code is None else f"code {record.code}",
        f"{record.milliseconds or 0:.1f} ms",
        *([f"fault {record.fault}"] if record.fault else []),
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
