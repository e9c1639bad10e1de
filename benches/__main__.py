"""The one entry: `python -m benches SUBJECT COMMAND`, from the repository's folder."""

from __future__ import annotations

from importlib import import_module

from benches.options import parser

if __name__ == "__main__":
    arguments = parser().parse_args()
    module = import_module(f"benches.measure.{arguments.module}")  # after the arguments: it imports what is compared
    getattr(module, arguments.what)(arguments)
