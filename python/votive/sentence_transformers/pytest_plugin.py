"""A plugin for pytest: the tests' `sentence_transformers` is votive's.

pytest -p votive.sentence_transformers.pytest_plugin
"""

from __future__ import annotations

from votive.sentence_transformers import install

# When pytest loads the plugin: before any conftest.py, and so before imports of the tests.
install()
