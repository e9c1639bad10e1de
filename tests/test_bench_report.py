"""Reports of experiments, from cells with known answers."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("msgspec")

from bench_cells import cell
from votive.bench import statistics
from votive.bench.cells import Consistency, Latency, Measured, Resources, Run
from votive.bench.experiment import BackendChoice, Experiment, Model, Objective, Objectives
from votive.bench.report import html, markdown, plots, style, write_report
from votive.bench.report.folder import folder as summed_up
from votive.bench.report.summary import Report, load, summarize

EVIL = "<script>a|b"


def measured(backend: str, batch: int, number: int, rate: float, p95: float) -> Measured:
    latency = Latency(samples=600, mean=p95 / 2, p50=p95 / 2, p95=p95, p99=p95 * 2, max=p95 * 3)
    return Measured(
        cell=cell(backend, batch),
        round=number,
        requests=600,
        items=600,
        items_per_second=rate,
        latency=latency,
        histogram=statistics.histogram([p95 / 2] * 600),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Batches 8, 32 and 64: the peak is at 64, and 32 is within 5 % of it at half the latency."""
    backends = [BackendChoice(kind="votive", name=name) for name in ("float32", EVIL, "gone")]
    objectives = Objectives(p95_ms=Objective(warning=15, critical=35))
    experiment = Experiment(name="one", models=[Model(name="m")], backends=backends, objectives=objectives)
    run = Run(
        experiment=experiment,
        machine={"cpus": 2},
        versions={"votive": "1"},
        git="1a2b3c-dirty",
        started="2026-01-01T00:00:00Z",
    )
    lines = []
    for number, drift in enumerate((1.0, 1.1, 1.3)):
        for batch, rate, p95 in ((8, 50.0, 5.0), (32, 98.0, 20.0), (64, 100.0, 40.0)):
            lines.append(measured("float32", batch, number, rate * drift, p95))
            lines.append(measured(EVIL, batch, number, 2 * rate * drift, p95))
        gone = measured("gone", 8, number, 0, 1)
        lines.append(Measured(cell=gone.cell, round=number, skipped="pip install gone"))
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))
    whole = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    (tmp_path / "cells.jsonl").write_bytes(whole + b'{"half')
    return tmp_path


def test_rounds_are_merged(folder: Path) -> None:
    summary = load(folder)
    row = next(row for row in summary.rows if (row.cell.backend, row.cell.batch_size) == (EVIL, 8))
    assert row.items_per_second is not None
    assert (row.items_per_second.median, row.items_per_second.lowest) == (pytest.approx(110), 100)
    # Machines that drift do so for both: the ratio of a round does not.
    assert row.ratio is not None
    assert (row.ratio.lowest, row.ratio.highest) == (pytest.approx(2), pytest.approx(2))
    assert row.marks == ["noisy"]
    assert summary.skipped == {"gone": "pip install gone"}


def test_what_the_rows_say(folder: Path) -> None:
    summary = load(folder)
    (winner,) = summary.winners
    assert (winner.cell.backend, winner.cell.batch_size, winner.clear) == (EVIL, 64, True)
    assert summary.batching == "batching:\n  enabled: true\n  max_batch_size: 32"
    assert [(alert.cell.batch_size, alert.level) for alert in summary.alerts] == [
        (32, "warning"),
        (32, "warning"),
        (64, "critical"),
        (64, "critical"),
    ]
    assert f"{EVIL} has 2.00x the throughput of float32 at each of 3 settings" in summary.insights
    assert "float32: past a batch of 32 throughput rises by less than 5 %" in summary.insights


def test_ratios_are_told_as_far_as_they_go(folder: Path) -> None:
    """Of one setting whether all rounds agree; of several from which to which."""
    run = load(folder).run
    for rates, said in (
        (
            (55.0, 45.0, 50.0),
            "b is neither faster nor slower than float32 in all rounds: 0.90x to 1.10x at batch 8, 1 caller",
        ),
        ((60.0, 70.0, 65.0), "b has 1.30x the throughput of float32 at batch 8, 1 caller"),
    ):
        lines = [
            measured(name, 8, n, rate, 1) for n, of in enumerate(rates) for name, rate in (("float32", 50), ("b", of))
        ]
        assert said in summarize(run, lines).insights
    lines = [measured("float32", batch, 0, 50, 1) for batch in (1, 2, 4)]
    lines += [measured("b", batch, 0, rate, 1) for batch, rate in ((1, 100), (2, 25), (4, 75))]
    span = "from 0.50x at batch 2, 1 caller to 2.00x at batch 1, 1 caller"
    assert f"b has 1.50x the throughput of float32 in the median, {span}" in summarize(run, lines).insights


def test_backends_look_different_and_the_same_in_all_plots(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    looks = style.looks(map(str, range(56)))
    assert len({(look["color"], look["marker"], look["mfc"] == style.PAPER) for look in looks.values()}) == 56
    run = load(folder).run
    one, other = (
        summarize(run, [measured(name, 8, 0, 50.0, 5.0) for name in names]) for names in (("a", "b"), ("b", "c"))
    )
    looks = style.looks([*plots.backends(one), *plots.backends(other)])
    seen = []
    for summary, names in ((one, "ab"), (other, "bc")):
        lines = plots.figures(summary, looks)["latency_cdf"].axes[0].lines
        assert [line.get_label() for line in lines] == list(names)
        seen.append({line.get_label(): (line.get_color(), line.get_marker()) for line in lines})
    assert seen[0]["b"] == seen[1]["b"]


def test_legends_of_many_backends_leave_the_plot_its_room(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [measured(f"backend number {n}", batch, 0, 50.0 + n, 5.0) for n in range(20) for batch in (8, 32)]
    figure = plots.figures(summarize(load(folder).run, lines))["throughput_by_batch"]
    figure.draw_without_rendering()
    [legend] = figure.legends
    assert len(legend.get_texts()) == 20
    inches = figure.dpi_scale_trans.inverted()
    box = figure.axes[0].get_window_extent().transformed(inches)
    below = legend.get_window_extent().transformed(inches)
    assert box.height > 2.5
    assert below.y1 < box.y0
    assert (below.x0 >= 0, below.x1 <= figure.get_figwidth()) == (True, True)


def test_files_are_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = write_report([folder], out)
    # A terminal shows no plots.
    written = (out / "report.md").read_text(encoding="utf-8")
    assert re.sub(r"## Plots\n\n|!\[.*\n\n", "", written) == text
    assert all((out / path).is_file() for path in re.findall(r"!\[.*\]\((.*)\)", written))
    assert "<script>" not in text
    assert "&lt;script&gt;a\\|b" in text
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    assert {row["backend"] for row in rows} == {"float32", EVIL, "gone"}
    assert rows[0]["latency_p95_ms"] == "5.0"
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Report)
    assert (report.schema_version, len(report.experiments[0].rows)) == (1, 7)


def test_the_page_is_whole(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = _written_page(folder, tmp_path / "out")
    assert page.addresses == []
    # What is opened is closed, in its order.
    assert page.open == []
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.count["table"] == len(re.findall(r"^\| --- ", markdown, re.MULTILINE)) == 5
    drawn = sorted(path.stem for path in (tmp_path / "out" / "plots").iterdir())
    assert [name.removeprefix("one__") for name in drawn] == [
        "latency_cdf",
        "throughput_by_batch",
        "throughput_latency",
    ]
    assert sorted(page.labels) == drawn
    assert page.count["svg"] == page.count["figure"] == len(drawn)
    # The only script is the page's own, of 30 lines at most.
    assert page.count["script"] == 1
    assert len(page.script.strip().splitlines()) <= 30
    assert EVIL in page.text


def test_markdown_becomes_html() -> None:
    cases = {
        "# a &lt;b&gt;": '<h1 id="a-lt-b-gt">a &lt;b&gt;</h1>',
        "- one\n- **two**": "<ul><li>one</li><li><strong>two</strong></li></ul>",
        "```yaml\na: <b>\n\nc: 1\n```": "<pre><code>a: &lt;b&gt;\n\nc: 1</code></pre>",
        "![throughput](plots/a.png)": "<figure>(a)</figure>",
        "![throughput](javascript:x)": "<p>![throughput](javascript:x)</p>",
        "a\\*\\*b <i> &amp;amp;": "<p>a**b &lt;i&gt; &amp;amp;</p>",
        "give `--<x>`, not \\`y\\`": "<p>give <code>--&lt;x&gt;</code>, not `y`</p>",
        "**a** `b": "<p><strong>a</strong> `b</p>",
    }
    for given, expected in cases.items():
        assert expected in html.page(given, {"plots/a.png": "(a)"})
    table = html.page("| a | n | empty |\n| --- | ---: | ---: |\n| x\\|y | 1.5 | |\n| z | 2 | |", {})
    assert '<th class="words">a</th><th>n</th><th>empty</th>' in table
    assert '<td class="words">x|y</td><td>1.5</td><td></td>' in table


def test_only_what_was_measured_is_drawn(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    run = load(folder).run
    assert plots.figures(summarize(run, [])) == {}
    one = measured("float32", 8, 0, 50.0, 5.0)
    assert plots.figures(summarize(run, [one])).keys() == {"latency_cdf"}
    one.resources = Resources(rss_peak_bytes=2**30)
    one.consistency = Consistency(against="other", cosine_min=0.99, max_difference=0.1)
    assert plots.figures(summarize(run, [one])).keys() == {"latency_cdf", "memory", "consistency"}


def test_failures_and_consistency_are_told(folder: Path) -> None:
    run = load(folder).run
    good, failing = measured("float32", 8, 0, 50.0, 5.0), measured("gone", 8, 0, 0.0, 5.0)
    good.consistency = Consistency(against="gone", cosine_mean=0.9995, cosine_min=0.99, max_difference=1.5e-7)
    failing.errors, failing.requests = {"RuntimeError: a|b": 3}, 0
    text = markdown.text(Report(experiments=[summarize(run, [good, failing])]))
    assert "| Against gone | Cosine mean | Cosine min | Largest difference |" in text
    assert "| float32 | 0.999500 | 0.990000 | 1.5e-07 |" in text
    assert "## Failed\n\n- gone, first at batch 8, 1 caller: RuntimeError: a\\|b (times: 3)" in text
    assert "gone is 0.00x" not in text


def test_a_store_has_a_recall_and_no_batching(folder: Path) -> None:
    run = load(folder).run
    run.experiment = msgspec.structs.replace(run.experiment, task="search")
    one = measured("float32", 8, 0, 50.0, 5.0)
    one.consistency = Consistency(against="gone", rank_overlap=0.75)
    summary = summarize(run, [one])
    assert summary.batching is None
    text = markdown.text(Report(experiments=[summary, summary]))
    assert "| Against gone | Recall |\n| --- | ---: |\n| float32 | 0.7500 |" in text
    assert "Recommended configuration" not in text


def test_batching_is_on_or_off(folder: Path) -> None:
    rounds = [measured("float32", 1, 0, 50.0, 5.0) for _ in range(2)]
    rounds[1].cell = msgspec.structs.replace(rounds[1].cell, batching=False)
    text = markdown.text(Report(experiments=[summarize(load(folder).run, rounds)]))
    assert "| Batching | Throughput" in text
    assert re.findall(r"^\| (on|off) \| ", text, re.MULTILINE) == ["on", "off"]


def test_rates_are_drawn_with_their_objective(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    rounds = []
    for rate in (50.0, 100.0):
        one = measured("float32", 1, 0, rate, 5.0)
        one.cell = msgspec.structs.replace(one.cell, load="open", rate=rate)
        rounds.append(one)
    rounds[1].marks = ["saturated"]
    drawn = plots.figures(summarize(load(folder).run, rounds))
    assert drawn.keys() == {"latency_cdf", "latency_by_rate"}
    axes = drawn["latency_by_rate"].axes[0]
    assert {text.get_text() for text in axes.texts} == {"p95 warning", "p95 critical"}
    # p50, p95, p99, the saturated one, two objectives.
    assert len(axes.lines) == 6
    [legend] = drawn["latency_by_rate"].legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["float32", "saturated or invalid: not steady", "p50", "p95", "p99"]


def test_pareto_front(folder: Path) -> None:
    rounds = [
        measured("a", batch, 0, rate, p95) for batch, rate, p95 in ((1, 10, 1), (2, 30, 3), (3, 20, 4), (4, 40, 9))
    ]
    front = plots.pareto(summarize(load(folder).run, rounds).rows)
    assert [row.cell.batch_size for row in front] == [4, 2, 1]


def test_without_matplotlib(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = _written_page(folder, tmp_path / "out")
    assert capsys.readouterr().err.endswith('report: no plots without matplotlib: pip install "votive[bench]"\n')
    assert (page.count["table"], page.count["svg"]) == (5, 0)
    assert not (tmp_path / "out" / "plots").exists()


class Page(HTMLParser):
    """What a page has, and which addresses it names."""

    EMPTY = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.labels: list[str] = []
        self.text = ""
        self.script = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "action", "xmlns", "xmlns:xlink") and (value or "")[:1] != "#":
                self.addresses.append(f"{tag} {name}={value}")
            if tag == "svg" and name == "aria-label":
                self.labels.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.script += data
        elif self.open[-1:] == ["style"]:
            self.addresses += re.findall(r"https?:[^\s)]*|@import.*|url\((?!#).*", data)
        else:
            self.text += data


def _written_page(folder: Path, out: Path) -> Page:
    write_report([folder], out)
    return Page((out / "report.html").read_text(encoding="utf-8"))


def test_folders_are_summed_up(folder: Path) -> None:
    """Batches, then callers, which are 1.5 times as fast, then a schedule of which 200 requests/s are held."""
    first = load(folder)
    rounds = []
    for number in range(3):
        for callers, rate, p95 in ((1, 100.0, 10.0), (4, 297.0, 20.0), (8, 300.0, 30.0)):
            one = measured("float32", 8, number, rate, p95)
            one.cell = msgspec.structs.replace(one.cell, experiment="two", concurrency=callers)
            alone = msgspec.structs.replace(one, cell=msgspec.structs.replace(one.cell, batching=False))
            alone.items_per_second = rate / 2
            one.resources = Resources(rss_peak_bytes=2**30)
            rounds += [one, alone]
    batched = BackendChoice(kind="votive", name="float32")
    second = summarize(_renamed(first.run, "two", batched), rounds)
    paced = []
    for rate, mark, p95 in ((100.0, [], 5.0), (200.0, [], 6.0), (300.0, [], 50.0), (400.0, ["saturated"], 9.0)):
        one = measured("float32", 1, 0, rate, p95)
        one.cell = msgspec.structs.replace(one.cell, experiment="three", load="open", rate=rate)
        one.marks = mark
        paced.append(one)
    third = summarize(_renamed(first.run, "three", batched), paced)
    found = summed_up(Report(experiments=[first, second, third]))
    best = [(phase.experiment, phase.best.cell.backend if phase.best else None, phase.gain) for phase in found.phases]
    assert best == [("one", EVIL, None), ("two", "float32", pytest.approx(300 / 220)), ("three", "float32", None)]
    assert [phase.varies for phase in found.phases] == ["backends, batch sizes", "callers, batching", "rates"]
    held = found.phases[2].best
    # 300 is beyond what is critical, 400 is saturated.
    assert held is not None
    assert held.cell.rate == 200
    (overall,) = found.overall
    assert (overall.best.cell.concurrency, overall.chosen.cell.concurrency, overall.phases) == (8, 4, 2)
    assert overall.batching == "batching:\n  enabled: true\n  max_batch_size: 32"
    said = "\n".join(found.insights)
    assert "two (short) raises the best throughput to 1.36x: float32, batch 8, 8 callers" in said
    assert "batch 8, 4 callers has 99 % of the peak of float32 at 67 % of its p95 (short)" in said
    assert "float32: 8 callers have 3.00x the throughput of one (short)" in said
    turns = "with batching, throughput is so many times that of callers that take turns (median): float32 2.00x (short)"
    assert turns in said
    assert "9 numbers are beyond the objectives, 3 critically, in one, two, three" in said
    assert "not measured: gone in 1 of 3 experiments" in said
    text = markdown.text(Report(experiments=[first, second, third]))
    assert (
        "| 2. two | callers, batching | m, short | **float32** | batch 8, 8 callers | 300 texts/s | 30 | 1.36 |" in text
    )
    assert (
        "\n## Overall winner\n\n**float32** (m, short): 300 texts/s at batch 8, 8 callers, p95 30 ms, in two;" in text
    )


def _renamed(run: Run, name: str, *backends: BackendChoice) -> Run:
    experiment = msgspec.structs.replace(run.experiment, name=name, backends=list(backends))
    return msgspec.structs.replace(run, experiment=experiment)
