"""votive for LlamaIndex: embeddings, reranking and a vector store. It needs llama-index-core."""

from votive.integrations.llama_index.embedding import VotiveEmbedding
from votive.integrations.llama_index.rerank import VotiveRerank
from votive.integrations.llama_index.vector_store import VotiveVectorStore

__all__ = ["VotiveEmbedding", "VotiveRerank", "VotiveVectorStore"]
