"""What `votive.EmbeddingStore` is made of: the class has signatures and documentation, and functions here do the work.

From what changes to what does not:

- state: the one object of a store that changes; options, budget: what it was told; arguments, loading: types of its
  methods;
- changes, search, rows, exchange, pickling: what its methods do, each with a state;
- binding: the folder of a store: opening, saving, committing and closing it;
- contents: all rows, as one immutable value; columns, texts, chunked_array: its parts beside the core's;
- vectors, ids, filters, batches: what callers give; spill: rows in files that have no names;
- descriptor, directory, lock, disk: files, folders that are open, and the lock of the one writer;
- npy, manifest, strings, mapped, folder, writer, segments, generations: the folder that `votive.persistence` describes,
  from the files up.
"""
