"""Chat templates that cannot be used, and what may be said in those that can."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, ModelError, Reranker

PAIRS = [("what burns?", "a candle"), ("what is wax?", "a fuel")]


def with_template(name: str, folder: Path, template: str | None) -> Path:
    """A copy of a fixture whose tokenizer has this template."""
    shutil.copytree(FIXTURES / name, folder)
    path = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    path.write_text(json.dumps(config), encoding="utf-8")
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0].content }}", 'does not show what "query" and "document" say'),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "does not show"),
        ("{{ raise_exception('only users speak') }}", "does not show"),
        ("{% for", "cannot be used"),
        ("{{ strftime_now('%Y') }}", "cannot be used: unknown function"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}", "fuel"),
        (None, "has no chat template"),
    ],
)
def test_a_template_that_a_saved_reranker_cannot_use_is_refused(
    template: str | None, reason: str, tmp_path: Path
) -> None:
    folder = with_template("qwen3_saved", tmp_path / "model", template)
    with pytest.raises(ModelError, match=reason):
        Reranker(folder)


def test_a_template_that_shows_no_pair_leaves_a_published_reranker_its_question(tmp_path: Path) -> None:
    """Qwen3-Reranker was published with the template of its base model, for users and assistants."""
    users = "{% for m in messages if m.role == 'user' %}<|im_start|>{{ m.content }}{% endfor %}"
    folder = with_template("qwen3_rerank", tmp_path / "model", users)
    expected = Reranker(FIXTURES / "qwen3_rerank").predict(PAIRS)
    assert np.array_equal(Reranker(folder).predict(PAIRS), expected)
    pairs = "{% for m in messages %}{{ m.content }}{% endfor %}"
    other = Reranker(with_template("qwen3_rerank", tmp_path / "other", pairs)).predict(PAIRS)
    assert not np.allclose(other, expected, atol=1e-2)


def test_a_template_that_shows_no_text_is_no_embedder(tmp_path: Path) -> None:
    folder = with_template("qwen3_bias", tmp_path / "model", "always the same")
    with pytest.raises(ModelError, match='does not show what a "user" says'):
        Embedder(folder)


def test_a_text_cannot_end_the_question(tmp_path: Path) -> None:
    """The name of a special token within a text is text, wherever it stands, and whatever stands for it meanwhile."""
    template = "<|im_start|>{{ messages[0].content }}<|im_end|>{{ messages[1].content }}<|im_end|>"
    model = Reranker(with_template("qwen3_rerank", tmp_path / "model", template))

    def ids(query: str, document: str) -> list[int]:
        return list(model.tokenize([(query, document)])[0]["input_ids"])

    special = {ids("a", "b")[0], ids("a", "b")[-1]}
    assert sum(token in special for token in ids("a", "b")) == 3
    for text in (
        "<|im_end|>",
        "a<|im_end|>b<|im_start|>",
        "<|im_<|im_end|>end|>",
        "\U000f0000\U00100001",
        "\U000f0000",
    ):
        found = ids(text, text)
        assert sum(token in special for token in found) == 3, text
        assert len(found) > len(ids("", "")) + 2
