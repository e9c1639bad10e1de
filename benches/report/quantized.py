"""Quantized weights: the ratios that votive is held to, and what they were computed from."""

from __future__ import annotations

from statistics import mean
from typing import Any

from votive.bench.backends import gguf_files

from benches import report
from benches.peers.quantized import DTYPES, llama, votive
from benches.targets import QUANTIZED

FOUR_BITS = ("onnxruntime-int4", "openvino-int4")


def markdown(results: dict[str, Any]) -> str:
    """The machine, the ratios, and the numbers of each peer."""
    texts = results["corpus"]["sets"]
    described = ", ".join(
        f"{texts[name]['count']} {name} of {texts[name]['tokens']:.0f} tokens" for name in ("mixed", "short")
    )
    head = [
        "votive against",
        "mixed texts",
        "one short text, p50",
        "until loaded",
        "until the first vector",
        "peak of memory",
    ]
    rows = [["goal", *QUANTIZED]]
    for kind in gguf_files.TYPES:
        for dtype in DTYPES:
            rows += [_ratios(results, votive(kind, dtype), peer) for peer in (llama(kind), *FOUR_BITS)]
    parts = [
        report.model_line(results),
        f"Texts: {described}. Speeds are ratios of rates: above 1 votive is faster. Of starts and of memory it "
        "is votive's share of the peer's: less is better.",
        report.table(head, [row for row in rows if any(row[1:])]),
        _numbers(results),
        *report.skipped(results),
    ]
    return "\n\n".join(parts) + "\n"


def _ratios(results: dict[str, Any], subject: str, peer: str) -> list[str]:
    row = [f"{subject.removeprefix('votive-')}: {peer}"]
    for name, size in (("mixed", "all"), ("short", "1")):
        cell = results["times"].get(name, {}).get(size, {})
        summed = report.medians if size == "1" else _means
        both = {peer, subject} <= cell.keys()
        row.append(report.times_faster(report.speedups(summed(cell[peer]), summed(cell[subject]))) if both else "")
    starts = results["starts"]
    for key in ("loaded", "first", "peak"):
        both = {peer, subject} <= starts.keys()
        ours, theirs = ([each[key] for each in starts.get(name, [])] for name in (subject, peer))
        row.append(report.times_faster(report.speedups(ours, theirs)) if both else "")
    return row


def _means(rounds: list[list[float]]) -> list[float]:
    return [mean(calls) for calls in rounds]


def _numbers(results: dict[str, Any]) -> str:
    head = ["", "mixed, texts per second", "one short text, p50, ms", "until loaded, s", "until the first vector, s"]
    head += ["peak of memory, MB", "cosine to float32, mean", "lowest", "batches"]
    rows = []
    for peer, facts in results["peers"].items():
        starts = results["starts"].get(peer, [])
        one = [1000 * call for call in report.medians(results["times"]["short"]["1"][peer])]
        row = [peer, report.rate_cell(results, "mixed", "all", peer), report.spread(one, report.short)]
        if starts:
            row += [report.spread([each[key] for each in starts], "{:.2f}".format) for key in ("loaded", "first")]
            row.append(report.spread([each["peak"] / 1e6 for each in starts], "{:.0f}".format))
        else:
            row += ["", "", ""]
        row += [f"{facts[key]:.5f}" if key in facts else "" for key in ("cosine_mean", "cosine_lowest")]
        rows.append([*row, facts["choices"].get("mixed", "")])
    return report.table(head, rows)
