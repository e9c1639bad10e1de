"""`votive.sentence_transformers` against sentence-transformers, whose answers `fixtures/dropin.py` wrote down.

Tensors are compared where torch is installed. Elsewhere arrays stand in their place, and an error where they are asked
for.
"""

import json
import math
from importlib.util import find_spec
from typing import Any

import dropin_table
import pytest
import votive.sentence_transformers
from bodies import INT8
from dropin_calls import CALLS, FIXTURES, outcome

REFERENCE = json.loads((FIXTURES / "dropin.json").read_text(encoding="utf-8"))
HAS_TORCH = find_spec("torch") is not None

# What is not the same, and why.
PADDED = "the reference pads ids and hidden states to the longest text of the batch"
DIFFERENT = {
    **{name: PADDED for name in CALLS if name.startswith("encode many float32 None")},
    "encode array without dimensions": "the reference takes it for sound; it is one text",
    "encode with an unknown precision": "the reference prints a set, whose order changes",
    "encode one with an unknown precision": "the reference prints a set, whose order changes",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::votive.TruncationWarning"),
    pytest.mark.filterwarnings("ignore:.*use_auth_token.*:FutureWarning"),
    INT8,
]


@pytest.fixture(autouse=True)
def torch() -> None:
    """Imported where it is installed: then tensors are given unasked, as the reference gives them."""
    if HAS_TORCH:
        import torch  # noqa: F401


def asks_for_tensors(name: str) -> bool:
    asked = "tensor=True" in name or name.endswith(" tensor")
    lists = "numpy=False" in name and (name.startswith("predict") or " sentence_embedding " in name)
    return (asked or lists) and not (" token_embeddings " in name or " None " in name)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in DIFFERENT])
def test_gives_what_the_reference_gives(name: str) -> None:
    found, expected = outcome(CALLS[name], votive.sentence_transformers), REFERENCE[name]
    if not HAS_TORCH and asks_for_tensors(name) and "error" not in expected:
        assert found == {
            "error": "ImportError",
            "message": "tensors need PyTorch, which is not installed; leave convert_to_tensor out for arrays",
        }
        return
    assert_same(found, expected, name)


def assert_same(found: Any, expected: Any, place: str) -> None:
    if isinstance(expected, dict) and "numbers" in expected:
        assert isinstance(found, dict), place
        assert "numbers" in found, f"{place}: {found}"
        kinds = {expected["kind"]} if HAS_TORCH else {expected["kind"], "array"}
        assert found["kind"] in kinds, place
        if math.prod(expected["shape"]) == 0:
            # The reference gives (0,) of float64.
            assert math.prod(found["shape"]) == 0, place
            return
        assert (found["shape"], found["dtype"]) == (expected["shape"], expected["dtype"]), place
        integers = expected["dtype"] not in ("float32", "float64")
        assert found["numbers"] == pytest.approx(expected["numbers"], abs=1 if integers else 2e-5), place
    elif isinstance(expected, dict):
        assert isinstance(found, dict), f"{place}: {found}"
        assert sorted(found) == sorted(expected), place
        for key, value in expected.items():
            assert_same(found[key], value, f"{place}[{key!r}]")
    elif isinstance(expected, list):
        assert isinstance(found, list), f"{place}: {found}"
        assert len(found) == len(expected), place
        for i, value in enumerate(expected):
            assert_same(found[i], value, f"{place}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=2e-5), place
    else:
        assert found == expected, place


def test_every_call_was_made_of_the_reference() -> None:
    assert sorted(CALLS) == sorted(REFERENCE)


def test_the_table_of_the_documentation_is_made_of_these_calls() -> None:
    assert dropin_table.table() in dropin_table.PAGE.read_text(encoding="utf-8")
    assert all(len(dropin_table.calls_of(row)) for row in dropin_table.ROWS)
