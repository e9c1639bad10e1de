"""Stores on disk: a folder that outlasts a crash at any instant, and that opens with plain NumPy.

A folder has `MANIFEST.json`, and arrays as `numpy.save` writes them: version 1.0, in the order of C, little-endian. So
`numpy.load("folder/vectors-1-0.npy", mmap_mode="r")` gives the vectors of a store that was saved at once. What is less
than 4 MB at a commit goes to one file, as `numpy.savez` writes it: `numpy.load("folder/segment-2-0.npz")["vectors"]`. A
file is called `<what>-<generation>-<number>`, and is never written to again once a manifest names it.

A segment holds rows that were written together:

- vectors `[rows, dimension]`, float32 or float16, or uint8 `[rows, dimension / 8]` of bits; none in a store of int8;
- codes `[rows, stride]` int8, where the stride is the dimension rounded up to 64, and bounds `[rows, 6]` float32. Where
  there are vectors too they may be missing, and are computed again. A store of bits has none;
- coarse `[rows, 16 + stride / 2]` uint8, in stores of float32 and float16: what a search for few queries reads first. A
  row is four float32 numbers (scale, error, norm, half the square) and then, for each 64 numbers, 32 bytes: byte i has
  number i in its lower four bits and number i + 32 in its upper ones, 0 to 15 for -15, -13, ..., 15 times the scale. It
  may be missing beside codes, as in versions before 3;
- ids `[rows]` int64, or ids_offsets `[rows + 1]` int64 and ids_bytes: id `i` is the UTF-8 text
  `ids_bytes[ids_offsets[i]:ids_offsets[i + 1]]`;
- columns of metadata, and the texts as the column "text". Of numbers, booleans and datetime64 there are `values`
  `[rows]`; of "str", "bytes" and "json" `offsets` `[rows + 1]` int64 and `bytes`, as with ids; and `valid` `[rows]`
  booleans, False for null, where there are nulls. "json" is lists and dicts as JSON in UTF-8. A segment that has no
  file of a column has null in it. Values may be of a narrower type than the column, which becomes wider when others
  come.

A set of changes holds values that rows of segments were changed to: for each column `rows`, ascending int64, and the
arrays of a column for them. The last set that has a row counts. `deleted` is a bit for each row, lowest first, as
`numpy.packbits(..., bitorder="little")` has it. Rows are counted through all segments, in order; deleted ones stay in
the other files until the store is compacted, or saved anew.

The manifest has `format_version` (3), `generation` (one more with each commit), `dimension`, `dtype`, `metric`,
`id_kind` ("int64", "str", or null without rows), `rows` (deleted ones count), `largest_id` (that there ever was: no id
is given twice), `columns` (types by name), `segments` (`first_row`, `rows`, the arrays by what they are, and `columns`,
arrays by name and what they are; ids alone where all rows are deleted), `changes` (`rows`, the number of values, and
`columns`), `deleted` (an array or null), `deleted_rows`, `files`, `created_by`, and the `crc32c` of the rest of itself,
without spaces and with its keys in order. An array is named by its file, or as `segment-2-0.npz/ids`. Of a file there
are `bytes`, `crc32c` of the whole, `dtype` and `shape`; of one with several `arrays`, each with its `offset`.

Where it is known which model made the vectors, there is also `embedder`, with `name`, `revision` (or null),
`fingerprint`, `pooling`, `dtype` and `prompt`, as `votive.EmbedderInfo` has them. Versions before this key pass over
it, and leave it out of what they commit.

A commit writes new files and syncs each, syncs the folder, writes the manifest under another name, syncs it, gives it
its name, syncs the folder, and only then removes the files that it does not name. So a crash leaves the state before or
after, and maybe files that no manifest names, which the next writer removes. Segments of small commits, and sets of
changes, are written anew together with later ones, so that there are few: each row is copied about log4(rows) times.
One writer at a time holds the lock of the file LOCK, which the operating system releases when the process ends. Readers
need none: they have their files open, and begin anew if a commit removes one before they could open it. On Windows,
which keeps a file that is mapped from being removed, it stays until a writer finds it unused.

A writer commits to the folder that it opened and to no other: before it publishes and before it removes anything it
looks whether the path still leads to that folder, LOCK is the file that it holds, and the manifest is the one that it
read or wrote last. Where one of them was moved, removed or replaced it writes nothing, and says so. Children of a fork
hold no lock and commit nothing, and what they do keeps no other process from writing.

Folders of versions 1 and 2 open as they are, and become version 3 with the next commit. Those had no coarse codes; rows
get them when they are written anew, as `compact` does. In version 1 a column was one array of one
type, of str and bytes as wide as the longest, which is read into memory; texts were parts of a segment; and `deleted`
was the numbers of rows.
"""
