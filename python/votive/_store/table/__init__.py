"""Columns of a store: texts and metadata of rows, null where there is none."""
