"""Every key that the reference reads: what changes its vectors changes votive's in the same way, or is refused by name.

`fixtures/keys.py` asked the reference about each of them. `OTHERWISE` lists where votive answers otherwise on purpose,
and why.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, ModelError

KEYS = json.loads((FIXTURES / "keys.json").read_text(encoding="utf-8"))
VECTORS = np.load(FIXTURES / "keys.npz")
TEXTS: list[str] = KEYS["texts"]
ENTRIES: list[dict[str, Any]] = KEYS["entries"]

OTHERWISE = {
    ("config.json", "use_bidirectional_attention"): (
        "the code that models bring for it (voyage's) attends both ways; transformers' own classes pass over it"
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


def changed(entry: dict[str, Any], folder: Path) -> Path:
    """A copy of the fixture with one value written over what its file says."""
    shutil.copytree(FIXTURES / entry["fixture"], folder)
    path = folder / entry["file"]
    path.parent.mkdir(exist_ok=True)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, entry["key"]: entry["value"]}), encoding="utf-8")
    return folder


def encode(folder: Path) -> np.ndarray:
    model = Embedder(folder, num_threads=1)
    return np.concatenate([model.encode([text]) for text in TEXTS])


@pytest.fixture(scope="module")
def usual() -> dict[str, np.ndarray]:
    """What the fixtures give as they are."""
    return {fixture: encode(FIXTURES / fixture) for fixture in {entry["fixture"] for entry in ENTRIES}}


@pytest.mark.parametrize(
    "number", range(len(ENTRIES)), ids=lambda i: "{fixture}-{file}-{key}".format(**ENTRIES[i]).replace("/", "-")
)
def test_a_key_is_honoured_or_refused(number: int, tmp_path: Path, usual: dict[str, np.ndarray]) -> None:
    entry = ENTRIES[number]
    try:
        found = encode(changed(entry, tmp_path / "model"))
    except ModelError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        # By name, be it of the key or of what it would have changed.
        assert refusal.startswith((entry["file"], "tokenizer", "config.json", "model.safetensors"))
        return
    if (entry["file"], entry["key"]) in OTHERWISE or entry["reference"] == "error":
        return
    expected = VECTORS[str(number)] if entry["reference"] == "other" else usual[entry["fixture"]]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)
