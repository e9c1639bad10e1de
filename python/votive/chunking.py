"""Cutting long texts into chunks that a model reads whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from votive import _inputs
from votive._arguments import check_count
from votive._embedding import DOCUMENT_TASK, EmbeddingModel
from votive._model import Model
from votive._tracebacks import short_traceback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from votive.embedder import Embedder
    from votive.reranker import Reranker
    from votive.typing import Texts

# Characters of a chunk that its repr shows.
_SHOWN = 40


@dataclass(frozen=True, repr=False, slots=True)
class Chunk:
    """A part of a text.

    Attributes:
        text: its characters: `texts[document][start:end]`. It begins and ends with no white space.
        document: which of the texts it is of, from 0.
        start: its first character within that text.
        end: the character behind its last one.
        tokens: how many tokens the model makes of it, without special ones and prompt.
    """

    text: str
    document: int
    start: int
    end: int
    tokens: int

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 1]}…"
        return f"Chunk({text!r}, document={self.document}, start={self.start}, end={self.end}, tokens={self.tokens})"


@short_traceback
def chunk(texts: Texts, model: Embedder | Reranker, max_tokens: int | None = None, overlap: int = 0) -> list[Chunk]:
    """Cuts texts into chunks of at most `max_tokens` tokens, so that a model reads each of them whole.

    A chunk ends at the best place within its tokens: the end of a paragraph, sentence or line if that fills a quarter
    of it, else of a word, else of a character. Sentences, words and characters are those of Unicode (UAX 29). Every
    character is in a chunk, but for white space around chunks; none is in two, but for the overlap.

    Args:
        texts: one str, or a column or iterable of str, as `Embedder.encode` takes them.
        model: whose tokenizer counts.
        max_tokens: the most tokens of a chunk, without special ones and prompt. None for what the embedder reads:
            `max_seq_length` less special tokens and the prompt of `encode_document`. A reranker reads the query with
            the text, so that it must be given.
        overlap: the most tokens of a chunk that the next one begins with again, from the beginning of a sentence or,
            if none begins there, of a word.

    Returns:
        The chunks of all texts, in order. Of a text without anything but white space there is none.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: `max_tokens` is less than 1, or less than the tokens of a single character; `overlap` is not less
            than `max_tokens`; a text holds a lone surrogate.
    """
    if not isinstance(model, Model):
        raise TypeError(
            f"model: expected an Embedder or a Reranker, found {type(model).__name__}; votive.Embedder(name) loads one"
        )
    check_count("max_tokens", max_tokens)
    if overlap is None:
        raise TypeError("overlap: expected an int, found NoneType")
    check_count("overlap", overlap, minimum=0)
    prompt, task, max_length = "", None, model.max_seq_length
    if isinstance(model, EmbeddingModel):
        prompt, task = model._document_prompt(None, None), model._task(None, DOCUMENT_TASK)
        max_length = model._wanted_length
    elif max_tokens is None:
        raise ValueError(
            "max_tokens: expected an int, found None; a reranker reads the query, too: give how many of its "
            f"{model.max_seq_length} tokens are for the text"
        )
    core: Any = model._model
    columns: Iterable[list[str]]
    if isinstance(texts, str):
        columns = [[texts]]
    else:
        column = _inputs.column(texts, "texts")
        columns = [column] if isinstance(column, list) else column
    chunks: list[Chunk] = []
    start = 0
    for part in columns:
        found = core.chunk(
            part,
            start=start,
            limits=(max_tokens, overlap, max_length),
            prompt=prompt,
            task=task,
        )
        chunks.extend(Chunk(*fields) for fields in found)
        start += len(part)
    return chunks
