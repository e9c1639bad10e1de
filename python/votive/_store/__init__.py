"""What `votive.EmbeddingStore` is made of: the class has signatures and documentation, and functions here do the work.

From what changes to what does not:

- state: the one object of a store that changes; options, budget: what it was told; arguments, loading: types of its
  methods;
- changes, updates, compaction, search, rows, exchange, pickling: what its methods do, each with a state;
- saving, folder_binding: the folder of a store: opening, saving, committing and closing it;
- contents: all rows, as one immutable value; columns, column, column_values, column_type: its parts beside the core's;
  tiers: which of their parts are merged;
- vectors, ids, metadata, batches: what callers give; python_values, json_values, array_values, arrow_values: columns of
  metadata, by what they are given as; value_kinds: the kinds of their values; arrow_arrays: columns for pyarrow;
- filters, predicates and what they are made of: which rows callers mean; spill: rows in files that have no names;
- descriptor, directory, lock, disk: files, folders that are open, and the lock of the one writer;
- npy, packed, array_file, json_object, manifest, manifest_checks, strings, mapped, folder, writer, segment_arrays,
  segments, generations: the folder that `votive.persistence` describes, from the files up.
"""
