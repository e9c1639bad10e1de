"""Reports, made from the folders of a run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from votive.bench.report import csv, html, markdown, plots, style
from votive.bench.report.summary import Report, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(folders: list[Path], out: Path) -> str:
    """Write what `outputs` of the experiments ask for into `out`; gives the Markdown without plots.

    Without matplotlib there are no plots, which is said on standard error.
    """
    report = Report(experiments=[load(folder) for folder in folders])
    outputs = {output for one in report.experiments for output in one.run.experiment.outputs}
    out.mkdir(parents=True, exist_ok=True)
    drawn = _figures(report) if outputs & {"png", "html"} else {}
    text = markdown.text(report)
    if "png" in outputs:
        for name, figure in drawn.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(style.png(figure))
    shown = {one: [name for name in drawn if name.startswith(_start(one))] for one in _names(report)}
    if "markdown" in outputs:
        (out / "report.md").write_text(markdown.text(report, shown if "png" in outputs else {}), encoding="utf-8")
    if "html" in outputs:
        images = {name: style.svg(figure, Path(name).stem) for name, figure in drawn.items()}
        (out / "report.html").write_text(html.page(markdown.text(report, shown), images), encoding="utf-8")
    if "csv" in outputs:
        (out / "report.csv").write_text(csv.text(report), encoding="utf-8")
    if "json" in outputs:
        (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return text


def _names(report: Report) -> list[str]:
    return [one.run.experiment.name for one in report.experiments]


def _start(name: str) -> str:
    """Of the paths of an experiment's plots."""
    return f"plots/{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}__"


def _figures(report: Report) -> dict[str, Figure]:
    """By the paths of their files."""
    # A backend looks the same in all plots.
    looks = style.looks(name for one in report.experiments for name in plots.backends(one))
    try:
        return {
            f"{_start(one.run.experiment.name)}{name}.png": figure
            for one in report.experiments
            for name, figure in plots.figures(one, looks).items()
        }
    except ImportError:
        print('report: no plots without matplotlib: pip install "votive[bench]"', file=sys.stderr)
        return {}
