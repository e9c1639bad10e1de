"""Cutting texts by the tokens of a model, for LangChain."""

from __future__ import annotations

import copy
import sys
from os import PathLike
from typing import Any

from langchain_core.documents import Document  # type: ignore[import-not-found, unused-ignore]
from langchain_text_splitters import TextSplitter  # type: ignore[import-not-found, unused-ignore]

from votive.chunking import chunk
from votive.embedder import Embedder
from votive.integrations._loading import loaded


class VotiveTextSplitter(TextSplitter):  # type: ignore[misc, unused-ignore]
    """Cuts texts into chunks that a model reads whole, as `votive.chunk` does.

    In place of `SentenceTransformersTokenTextSplitter`. A chunk is a piece of the text as it stands, and ends at a
    paragraph, sentence, line or word. Those of the other are made of tokens: of an uncased model in small letters, and
    cut within words.

    Args:
        model_name: a folder, or a name on the Hugging Face Hub: of the model that will embed the chunks.
        model: a `votive.Embedder` that is loaded; or `model_name` by its other name.
        tokens_per_chunk: the most tokens of a chunk, without special ones and prompt; None for as many as the model
            reads.
        chunk_overlap: the most tokens of a chunk that the next one begins with again.
        add_start_index: put the place of a chunk's first character within its text into the metadata, as
            `start_index`.
        options: further arguments of `votive.Embedder`.

    Attributes:
        model: the `votive.Embedder`.
        tokens_per_chunk: as given.

    Raises:
        TypeError: neither a name nor a model was given, or both.
        ValueError: `tokens_per_chunk` is less than 1, or the overlap is more than that.
        FileNotFoundError, ModelError, DeviceError: see `votive.Embedder`.
    """

    def __init__(
        self,
        model_name: str | PathLike[str] | None = None,
        *,
        model: str | PathLike[str] | Embedder | None = None,
        tokens_per_chunk: int | None = None,
        chunk_overlap: int = 0,
        add_start_index: bool = False,
        **options: Any,
    ) -> None:
        self.model = loaded(Embedder, model_name, model, options)
        self.tokens_per_chunk = tokens_per_chunk
        most = (self.model.max_seq_length or sys.maxsize) if tokens_per_chunk is None else tokens_per_chunk
        super().__init__(chunk_size=most, chunk_overlap=chunk_overlap, add_start_index=add_start_index)

    def split_text(self, text: str) -> list[str]:
        """The chunks of a text, in their order."""
        return [piece.text for piece in chunk(text, self.model, self.tokens_per_chunk, self._chunk_overlap)]

    def create_documents(self, texts: list[str], metadatas: list[dict[Any, Any]] | None = None) -> list[Document]:
        """The chunks of all texts as documents, each with a copy of its text's metadata.

        Raises:
            ValueError: there are not as many metadatas as texts.
        """
        if metadatas is not None and len(metadatas) != len(texts):
            raise ValueError(f"metadatas: expected one for each of the {len(texts)} texts, found {len(metadatas)}")
        documents = []
        for piece in chunk(texts, self.model, self.tokens_per_chunk, self._chunk_overlap):
            metadata = {} if metadatas is None else copy.deepcopy(metadatas[piece.document])
            if self._add_start_index:
                metadata["start_index"] = piece.start
            documents.append(Document(page_content=piece.text, metadata=metadata))
        return documents
