"""Stores on disk: a folder that outlasts a crash at any instant, and that opens with plain NumPy.

A folder has `MANIFEST.json`, and arrays as `numpy.save` writes them: version 1.0, in the order of C, little-endian. So
`numpy.load("folder/vectors-1-0.npy", mmap_mode="r")` gives the vectors of a store that was saved at once. A file is
called `<what>-<generation>-<number>.npy`, and is never written to again once a manifest names it:

- vectors `[rows, dimension]`, float32 or float16; none in a store of int8;
- codes `[rows, stride]` int8, where the stride is the dimension rounded up to 64, and bounds `[rows, 6]` float32: what
  a search reads first. Where there are vectors too they may be missing, and are computed again;
- ids `[rows]` int64, or ids_offsets `[rows + 1]` int64 and ids_bytes: id `i` is the UTF-8 text
  `ids_bytes[ids_offsets[i]:ids_offsets[i + 1]]`;
- texts_offsets and texts_bytes, as with ids, and a column `[rows]` for each column of metadata: where there are any;
- deleted, int64: the numbers of deleted rows, ascending. Rows are counted through all segments, in order; deleted ones
  stay in the other files until the store is compacted, or saved anew.

The manifest has `format_version` (1), `generation` (one more with each commit), `dimension`, `dtype`, `metric`,
`id_kind` ("int64", "str", or null without rows), `rows` (deleted ones count), `largest_id` (that there ever was: no id
is given twice), `deleted` (a file or null), `segments` (rows that were written together: `first_row`, `rows`, the
files by what they are, and `columns`, files by name; without vectors and codes where all rows are deleted), `files`
(`bytes`, `crc32c` of the whole file, `dtype`, `shape`), `created_by`, and the `crc32c` of the rest of itself, without
spaces and with its keys in order.

A commit writes new files and syncs each, syncs the folder, writes the manifest under another name, syncs it, gives it
its name, syncs the folder, and only then removes the files that it does not name. So a crash leaves the state before or
after, and maybe files that no manifest names, which the next writer removes. One writer at a time holds the lock of the
file LOCK, which the operating system releases when the process ends. Readers need none: they have their files open, and
begin anew if a commit removes one before they could open it. On Windows, which keeps a file that is mapped from being
removed, it stays until a writer finds it unused.

A writer commits to the folder that it opened and to no other: before it publishes and before it removes anything it
looks whether the path still leads to that folder, LOCK is the file that it holds, and the manifest is the one that it
read or wrote last. Where one of them was moved, removed or replaced it writes nothing, and says so. Children of a fork
hold no lock and commit nothing, and what they do keeps no other process from writing.
"""
