"""Reports, made from the folders of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from votive.bench.report import csv, markdown
from votive.bench.report.summary import Report, load


def write_report(folders: list[Path], out: Path) -> str:
    """Write what `outputs` of the experiments ask for into `out`; gives the Markdown.

    Plots and HTML are not made yet, which is said on standard error where they are asked for.
    """
    report = Report(experiments=[load(folder) for folder in folders])
    outputs = {output for one in report.experiments for output in one.run.experiment.outputs}
    out.mkdir(parents=True, exist_ok=True)
    text = markdown.text(report)
    if "markdown" in outputs:
        (out / "report.md").write_text(text, encoding="utf-8")
    if "csv" in outputs:
        (out / "report.csv").write_text(csv.text(report), encoding="utf-8")
    if "json" in outputs:
        (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if missing := sorted(outputs & {"png", "html"}):
        print(f"report: {' and '.join(missing)} cannot be made yet: nothing was written for them", file=sys.stderr)
    return text
