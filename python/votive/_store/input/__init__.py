"""What callers give a store: vectors, ids, texts, metadata."""
