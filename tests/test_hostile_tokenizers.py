"""Tokenizer files that are valid JSON and hostile: refused by an error that names the file, or harmless."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")

FIXTURE = Path(__file__).parent / "fixtures" / "bert_plain"
NAME = "tokenizer.json"
TEXTS = ["hello world", "", "a[MASK] b " + "a" * 40 + "!", "Ärger mit \uff46\uff55\uff4c\uff4c width 日本", "x" * 300]

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """Copies the fixture with a change of its tokenizer."""

    def copy(change: Change) -> Path:
        folder = Path(shutil.copytree(FIXTURE, tmp_path / "model"))
        tokenizer = json.loads((folder / NAME).read_text(encoding="utf-8"))
        change(tokenizer)
        (folder / NAME).write_text(json.dumps(tokenizer), encoding="utf-8")
        return folder

    return copy


def put(*path: Any, value: Any) -> Change:
    """Puts `value` at a path of keys."""

    def change(tokenizer: dict[str, Any]) -> None:
        place: Any = tokenizer
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def add(*tokens: tuple[int, str], **options: bool) -> Change:
    """Adds tokens to `added_tokens`."""
    plain = {key: False for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    entries = [{"id": number, "content": content, **plain, **options} for number, content in tokens]
    return lambda tokenizer: tokenizer["added_tokens"].extend(entries)


def replace(pattern: dict[str, str], content: str = "x") -> Change:
    return put("normalizer", value={"type": "Replace", "pattern": pattern, "content": content})


def characters(base64: str) -> Change:
    return put("normalizer", value={"type": "Precompiled", "precompiled_charsmap": base64})


def split(pattern: str, invert: bool = False) -> Change:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": invert}
    return put("pre_tokenizer", value=step)


def bpe(vocabulary: dict[str, int], merges: list[Any], **options: Any) -> Change:
    return put("model", value={"type": "BPE", "vocab": vocabulary, "merges": merges, **options})


def unigram(vocabulary: list[Any], unknown: int | None) -> Change:
    return put("model", value={"type": "Unigram", "vocab": vocabulary, "unk_id": unknown})


def nested(depth: int) -> dict[str, Any]:
    step: dict[str, Any] = {"type": "NFC"}
    for _ in range(depth):
        step = {"type": "Sequence", "normalizers": [step]}
    return step


CLS = ("post_processor", "special_tokens", "[CLS]")
FIRST = ("post_processor", "single", 1, "Sequence")
ROBERTA = {"type": "RobertaProcessing", "sep": ["[SEP]", 999999], "cls": ["[CLS]", 2]}
ROBERTA = {**ROBERTA, "trim_offsets": True, "add_prefix_space": True}

REFUSED: dict[str, Change] = {
    "id beyond the table": put("model", "vocab", "zebra", value=10**6),
    "greatest id": put("model", "vocab", "zebra", value=2**32 - 1),
    "id of 33 bits": put("model", "vocab", "zebra", value=2**32),
    "negative id": put("model", "vocab", "zebra", value=-1),
    "no vocabulary": put("model", "vocab", value={}),
    "no such unknown token": put("model", "unk_token", value="nope"),
    "more added tokens than rows": add(*[(400 + number, f"<{number}>") for number in range(9)]),
    "template with ids beyond the table": put(*CLS, "ids", value=[999999]),
    "template with the greatest id": put(*CLS, "ids", value=[2**32 - 1]),
    "template with types beyond the table": put(*FIRST, "type_id", value=7),
    "template with the greatest type": put(*FIRST, "type_id", value=2**32 - 1),
    "template of the second text": put(*FIRST, "id", value="B"),
    "template with undeclared tokens": put("post_processor", "special_tokens", value={}),
    "more special tokens than positions": lambda t: t["post_processor"]["single"].extend(
        t["post_processor"]["single"][:1] * 10_000
    ),
    "other post-processor beyond the table": put("post_processor", value=ROBERTA),
    "unknown normalizer": put("normalizer", value={"type": "Evil"}),
    "unknown pre-tokenizer": put("pre_tokenizer", value={"type": "Evil"}),
    "unknown model": put("model", value={"type": "Evil"}),
    "unknown decoder": put("decoder", value={"type": "Evil"}),
    "unknown version": put("version", value="99"),
    "no model": put("model", value=None),
    "added tokens that are no list": put("added_tokens", value={}),
    "invalid regex": replace({"Regex": "("}),
    "regex too large": replace({"Regex": "((a{1000}){1000}){1000}"}),
    "regex nested too deeply": replace({"Regex": "(" * 100_000 + ")" * 100_000}),
    "look-ahead nested too deeply": replace({"Regex": "(?=" * 100_000 + ")" * 100_000}),
    "normalizers nested too deeply": put("normalizer", value=nested(100)),
    "character map cut short": characters("AAAA"),
    "character map of nothing": characters(""),
    "character map that leads nowhere": put(
        "normalizer",
        value={"type": "Precompiled", "precompiled_charsmap": "QAAAAAABAgMEBQYHCAkKCwwNDg8" + "Q" * 80 + "="},
    ),
    "pieces of length 0": put("pre_tokenizer", value={"type": "FixedLength", "length": 0}),
    "merge of unknown tokens": bpe({"a": 0}, ["a b"]),
    "prefix longer than its token": bpe({"a": 0, "b": 1, "ab": 2}, [["a", "b"]], continuing_subword_prefix="#####"),
    "prefix that cuts a character": bpe({"a": 0, "é": 1, "aé": 2}, [["a", "é"]], continuing_subword_prefix="#"),
    "dropout beyond 1": bpe({"a": 0}, [], dropout=5.0),
    "word pieces without words": unigram([], None),
    "unknown id beyond the vocabulary": unigram([["a", 0.0]], 10**6),
}

HARMLESS: dict[str, Change] = {
    "two tokens of one id": put("model", "vocab", "hello", value=5),
    "empty token": put("model", "vocab", "", value=6),
    "empty added token": add((7, ""), normalized=True, lstrip=True, rstrip=True),
    "added tokens of other ids": add((2**32 - 1, "a"), (300, "[CLS]"), special=True),
    "words of no characters": put("model", "max_input_chars_per_word", value=0),
    "words of any length": put("model", "max_input_chars_per_word", value=2**63),
    "no prefix of word pieces": put("model", "continuing_subword_prefix", value=""),
    "stored truncation": put(
        "truncation",
        value={"max_length": 0, "stride": 2**60, "strategy": "OnlySecond", "direction": "Left"},
    ),
    "stored padding": put(
        "padding",
        value={
            "strategy": {"Fixed": 2**40},
            "direction": "Right",
            "pad_to_multiple_of": 0,
            "pad_id": 2**31,
            "pad_type_id": 9,
            "pad_token": "[PAD]",
        },
    ),
    "template of nothing": put("post_processor", "single", value=[]),
    "template without the text": lambda t: t["post_processor"]["single"].pop(1),
    "template tokens without ids": put(*CLS, value={"id": "[CLS]", "ids": [], "tokens": []}),
    "regex with many ways": replace({"Regex": "(a+)+$"}),
    "regex that looks back with many ways": replace({"Regex": r"(a+)+\1\1\1\1b"}),
    "regex that looks ahead with many ways": replace({"Regex": "(?=(a+a+a+a+)+b)"}),
    "regex of nothing": replace({"Regex": ""}),
    "string of nothing": replace({"String": ""}),
    "text that becomes long": replace({"String": "a"}, "b" * 10_000),
    "many normalizers": put("normalizer", value={"type": "Sequence", "normalizers": [{"type": "NFKD"}] * 2000}),
    "split at nothing": split(""),
    "split around every character": split("(?=.)", invert=True),
    "split with many ways": split(r"(a+)+\1\1\1\1b"),
    "merges with nothing": bpe({"a": 0, "": 1}, [["a", ""], ["", ""]]),
    "merge into itself": bpe({"a": 0, "aa": 0}, [["a", "a"]]),
    "scores beyond float64's precision": unigram([["a", 1e308], ["b", -1e308], ["ab", 1e308], ["aa", 1e308]], 0),
    "one piece many times": unigram([["a", 0.0]] * 300, 0),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_hostile_tokenizers_are_refused(
    changed: Callable[[Change], Path], change: Change, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = changed(change)
    with pytest.raises(ModelError, match=f"^{NAME}: "):
        Embedder(folder, num_threads=1).encode(TEXTS)
    # Some of them make the tokenizers library panic.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_odd_tokenizers_do_no_harm(changed: Callable[[Change], Path], change: Change) -> None:
    vectors = Embedder(changed(change), num_threads=1).encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 32)
    assert np.isfinite(vectors).all()
