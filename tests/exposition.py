"""A strict reader of the text formats of Prometheus (0.0.4) and OpenMetrics (1.0): what they do not allow fails."""

import math
import re
from dataclasses import dataclass, field

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Family:
    """A metric with its samples, by their names and labels in the order of the alphabet."""

    name: str
    kind: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def parse(text: str, is_open: bool = False) -> dict[str, Family]:
    """The families of a page by name, checked."""
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    if is_open:
        assert lines.pop() == "# EOF"
    families: dict[str, Family] = {}
    told: list[str] = []
    for line in lines:
        if line.startswith("# HELP "):
            name, words = line[7:].split(" ", 1)
            assert words.strip(), line
            told.append(name)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert _NAME.fullmatch(name), line
            assert name == told[-1], f"{name} is not told of above its type"
            assert kind in ("counter", "gauge", "histogram"), line
            assert name not in families, f"{name} comes twice"
            families[name] = Family(name, kind)
        else:
            _read_sample(line, list(families.values())[-1], is_open)
    assert len(told) == len(families)
    for family in families.values():
        assert family.samples, f"{family.name} has no sample"
        if family.kind == "counter":
            assert family.name.endswith("_total") != is_open, family.name
            assert all(value >= 0 for value in family.samples.values()), family.name
        if family.kind == "histogram":
            _check_histogram(family)
    return families


def _read_sample(line: str, family: Family, is_open: bool) -> None:
    match = _SAMPLE.fullmatch(line)
    assert match, line
    name, inside, number = match.groups()
    endings = ("_total" if is_open else "",) if family.kind == "counter" else _ENDINGS[family.kind]
    assert name in [family.name + ending for ending in endings], f"{name} stands below {family.name}"
    labels: list[tuple[str, str]] = []
    place = 0
    while inside and place < len(inside):
        label = _LABEL.match(inside, place)
        assert label, line
        labels.append((label[1], re.sub(r"\\(.)", _unescaped, label[2])))
        place = label.end()
    assert len({label for label, _ in labels}) == len(labels), line
    key = (name, tuple(sorted(labels)))
    assert key not in family.samples, f"{line} comes twice"
    family.samples[key] = float(number)


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _check_histogram(family: Family) -> None:
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (name, labels), value in family.samples.items():
        if name.endswith("_bucket"):
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            series.setdefault(tuple(pair for pair in labels if pair[0] != "le"), []).append((bound, value))
    assert series
    for labels, buckets in series.items():
        bounds, counts = zip(*buckets, strict=True)
        assert list(bounds) == sorted(set(bounds)), family.name
        assert bounds[-1] == math.inf, family.name
        assert list(counts) == sorted(counts), family.name
        assert family.samples[f"{family.name}_count", labels] == counts[-1]
        assert family.samples[f"{family.name}_sum", labels] >= 0
