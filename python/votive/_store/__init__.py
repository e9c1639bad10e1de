"""What `votive.EmbeddingStore` is made of: the class has signatures and documentation, and functions here do the work.

From what changes to what does not:

- state: the one object of a store that changes; options, budget: what it was told; arguments, loading: types of its
  methods;
- changes, compaction, search, rows, exchange, pickling: what its methods do, each with a state; arrow_arrays: columns
  for pyarrow;
- saving, folder_binding: the folder of a store: opening, saving, committing and closing it;
- contents: all rows, as one immutable value; spill: rows in files that have no names;
- filter: which rows a call is about; input: what callers give;
- files: the folder that `votive.persistence` describes, from the files up;
- table: columns of texts and metadata; mapped, array_file, npy: arrays that are in files.
"""
