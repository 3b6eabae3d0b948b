"""What hostile replies cost: the table of docs/security.md.

``python benchmarks/hostile_replies.py [aiohttp|requests|view]`` prints, for each kind of reply, at its worst of five
sizes: for how long nothing else had a turn, the CPU time, and the memory. The gateway and each client are processes of
their own. ``PYTHONPATH=<folder of an older version>`` measures that one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import hostile
from hostile_bodies import KINDS, MIB, OPERATION_OF

SIZES = tuple(int(size * MIB) for size in (0.25, 1.2, 6.8, 11.8, 30))
PATIENCE = 40
"""Seconds for one reply."""


def main(driver: str) -> None:
    print(f"{driver}: bodies of {', '.join(f'{size / MIB:g}' for size in SIZES)} MiB, the worst of them")
    print(f"{'kind of reply':26} {'stop':>9} {'CPU':>9} {'memory':>9}")
    with hostile.gateway() as port:
        for kind in KINDS:
            operation = OPERATION_OF.get(kind, "get_flow_instance")
            if driver == "view" and operation not in ("get_flow_instance", "get_task_instance_log"):
                operation = "get_flow_instance"
            # A process for each size, so that its memory is that of one reply.
            try:
                found = [
                    cost
                    for size in SIZES
                    for cost in hostile.costs(driver, port, [(kind, size, [operation])], seconds=PATIENCE)
                ]
            except subprocess.TimeoutExpired:
                print(f"{kind:26} did not end in {PATIENCE} s", flush=True)
                continue
            stop, cpu, memory = (max(getattr(cost, name) for cost in found) for name in ("stop", "cpu", "memory"))
            print(f"{kind:26} {stop * 1e3:6.0f} ms {cpu:7.2f} s {memory:5.0f} MiB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:] or ["aiohttp"])
