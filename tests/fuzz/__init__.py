"""Fuzzers: damaged models and damaged stores, of which each must be refused by a clear error or give right answers.

With this package's folder on the path, `python -m fuzz.models --seconds 3600 --seed 7` tries models for an hour, and
`python -m fuzz.stores` does stores. What fails is kept in a folder, which `--replay` tries again.
"""
