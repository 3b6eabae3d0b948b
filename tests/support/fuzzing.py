"""Check properties that hold for any input: shortly in every test run, for long in `make nightly`.

In the test run the examples are always the same ones. With ENOS_FUZZ_SECONDS each property is checked for this many
seconds, with random examples.
"""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

SECONDS = float(os.environ.get("ENOS_FUZZ_SECONDS", "0"))
_EXAMPLES_A_ROUND = 500


def hold(check: Callable[..., None], *, examples: int = 100, **strategies: st.SearchStrategy[Any]) -> None:
    """Call ``check`` with what the strategies give, by name. It raises an error if the property does not hold."""
    examples = _EXAMPLES_A_ROUND if SECONDS else examples
    options = settings(
        max_examples=examples,
        deadline=None,
        derandomize=not SECONDS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    until = time.monotonic() + SECONDS
    while True:
        options(given(**strategies)(check))()
        if time.monotonic() >= until:
            break


def assert_fit_for_a_log(text: str, longest: int = 3_000) -> None:
    """Assert that it is one line, without a character that moves the cursor or changes the direction of writing."""
    for letter in text:
        assert unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(letter) not in _TURNS
        assert letter not in "\u200e\u200f\u061c"
    assert len(text) <= longest


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

NASTY = st.sampled_from(
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
        "a\r\nSet-Cookie: b=c",
        "\u202egpj.exe",
        "\ud800",
        "::group::fold",
        "##[endgroup]",
        "%s %d {0} {flow_id}",
        "<script>alert(1)</script>",
        "{{ var.value.secret }}",
        "../../etc/passwd",
        "a/b",
        "\0",
        "None",
        "NaN",
        "9" * 5000,
        "1e999",
        "-1",
        "\uff13\uff13\uff17\uff17",
        "x" * 100_000,
    ]
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=40) | NASTY
NUMBERS = (
    st.integers()
    | st.sampled_from([0, -1, 10**11, 1594016819108, 2**31, 2**63, 10**19, 10**400])
    | st.floats()
    | st.sampled_from([0.5, 1e300, 3377.0])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, documents: list[Any]) -> Any:
    """Draw one of the documents, with up to four of its parts removed or replaced."""
    document = json.loads(json.dumps(draw(st.sampled_from(documents))))
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = draw(JSON)
    return document


def _places(value: Any) -> Any:
    """Return every item in it, with its container."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(inner)
