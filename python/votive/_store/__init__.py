"""What `votive.EmbeddingStore` is made of.

- contents: all that a store holds, as one immutable value; columns, texts and shelf: its parts beside the core;
- vectors, ids, filters: what callers give; adding, spill: how rows get in; view: what a store shows of its rows;
- exchange: Arrow, NumPy files and pickles;
- descriptor, directory, lock, disk: files, folders that are held open, and who may write to them;
- manifest, strings, mapped, folder, segments, generations: the folder that `votive.persistence` describes, from the
  files up.
"""
