//! Typed views of a model's JSON files.
