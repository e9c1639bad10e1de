"""Evaluators of models, as sentence-transformers has them: any model with `encode` or `predict` can be given.

Each is imported by itself, when a program asks for its name; see `votive.sentence_transformers._import_paths`.
"""
