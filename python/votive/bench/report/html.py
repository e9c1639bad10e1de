"""`report.html`: what the Markdown says, with the plots in it, as one file that opens without a network.

It is made from the Markdown, so that nothing is said twice: of Markdown it knows headings, tables, lists, code, bold
and code words, paragraphs and images that stand alone, which is all that a report has.
"""

from __future__ import annotations

import html
import re

STYLE = """
:root { color-scheme: light dark; --ink: #1b1c1d; --paper: #fff; --faint: #5f6368; --grid: #d9dadb; --shade: #f3f4f5;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e8; --paper: #15171a; --faint: #9aa0a6; --grid: #3a3e43; --shade: #1f2226; --accent: #56b4e9; }
}
body { margin: 0 auto; max-width: 72rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { border-top: 3px solid var(--accent); padding-top: .6rem; margin: 2.5rem 0 .5rem; line-height: 1.2; }
h2 { margin: 2rem 0 .5rem; line-height: 1.25; }
h3 { margin: 1.5rem 0 .5rem; }
nav { color: var(--faint); }
nav a { margin-right: 1rem; }
a { color: var(--accent); }
.table { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--grid); text-align: right; white-space: nowrap; }
th, .words { white-space: normal; overflow-wrap: break-word; }
.words { text-align: left; min-width: 6.5rem; max-width: 22rem; }
th:first-child, td:first-child { padding-left: .3rem; text-align: left; }
th { background: var(--shade); vertical-align: bottom; cursor: pointer; }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
tbody tr:hover { background: var(--shade); }
pre { background: var(--shade); padding: .75rem; overflow-x: auto; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; max-width: 45rem; height: auto; color: var(--ink); }
@media (max-width: 40rem) {
  body { padding: .6rem; font-size: .95rem; }
  h1 { font-size: 1.5rem; }
  h2 { font-size: 1.2rem; }
  th, td { padding: .25rem .45rem; }
}
@media print {
  :root { --ink: #000; --paper: #fff; --faint: #444; --grid: #bbb; --shade: #f3f4f5; --accent: #000; }
  body { max-width: none; font-size: 10pt; }
  nav { display: none; }
  .table { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .35rem; white-space: normal; }
  figure, tr, pre { break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
}
"""

# A click on a head sorts by the first number of each cell, or by its text; another click turns the order.
SCRIPT = """
document.querySelectorAll("th").forEach(head => {
  head.tabIndex = 0;
  const sort = () => {
    const column = head.cellIndex, body = head.closest("table").tBodies[0];
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = row => {
      const text = row.cells[column].textContent.trim(), found = text.match(/^-?[\\d,]*\\.?\\d+/);
      return found ? Number(found[0].replaceAll(",", "")) : text;
    };
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
      : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b);
    const rows = [...body.rows].sort((a, b) => sign * compare(key(a), key(b)));
    head.parentNode.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    body.append(...rows);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => event.key === "Enter" && sort());
});
"""

_NUMBER = re.compile(r"^\W*[\d,.]+")


def page(markdown: str, images: dict[str, str]) -> str:
    """The whole file.

    Args:
        markdown: of a report.
        images: by the addresses that the Markdown has for them, what stands in their place.
    """
    parts = [_block(part, images) for part in _split(markdown)]
    title = _heads(markdown)[0][1] if _heads(markdown) else "Report"
    links = [f'<a href="#{_anchor(text)}">{_inline(text)}</a>' for level, text in _heads(markdown) if level == 1]
    nav = f"<nav>{' '.join(links)}</nav>\n" if len(links) > 1 else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing is loaded, whatever the names in it are.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'\">\n"
        f"<title>{_inline(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{nav}"
        f"{chr(10).join(parts)}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _split(markdown: str) -> list[str]:
    """Blocks between empty lines; code is one."""
    parts: list[str] = []
    is_code = False
    for part in markdown.strip().split("\n\n"):
        if is_code:
            parts[-1] += f"\n\n{part}"
        else:
            parts.append(part)
        is_code = parts[-1].startswith("```") and not parts[-1].rstrip().endswith("\n```")
    return parts


def _heads(markdown: str) -> list[tuple[int, str]]:
    found = (re.match(r"(#+) (.*)", part) for part in _split(markdown))
    return [(len(head[1]), head[2]) for head in found if head]


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text).strip("-").lower()


def _block(part: str, images: dict[str, str]) -> str:
    if head := re.match(r"(#{1,6}) (.*)", part):
        level = len(head[1])
        # Those of lower levels come again in each experiment.
        name = f' id="{_anchor(head[2])}"' if level == 1 else ""
        return f"<h{level}{name}>{_inline(head[2])}</h{level}>"
    if part.startswith("```"):
        code = "\n".join(part.split("\n")[1:-1])
        return f"<pre><code>{html.escape(code)}</code></pre>"
    if part.startswith("|"):
        return _table(part.split("\n"))
    if part.startswith("- "):
        items = "".join(f"<li>{_inline(line[2:])}</li>" for line in part.split("\n"))
        return f"<ul>{items}</ul>"
    if (image := re.fullmatch(r"!\[.*\]\((.*)\)", part)) and image[1] in images:
        return f"<figure>{images[image[1]]}</figure>"
    return f"<p>{_inline(part)}</p>"


def _table(source: list[str]) -> str:
    head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in source)
    columns = zip(head, *rows, strict=True)
    kinds = [' class="words"' if _is_words(column) else "" for column in columns]
    heads = "".join(f"<th{kind}>{_inline(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    body = ["".join(f"<td{kind}>{_inline(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows]
    lines = "\n".join(f"<tr>{row}</tr>" for row in body)
    return f'<div class="table"><table><thead><tr>{heads}</tr></thead>\n<tbody>{lines}</tbody></table></div>'


def _is_words(column: tuple[str, ...]) -> bool:
    """Whether what stands below its head is no numbers, most of it."""
    filled = [cell for cell in column[1:] if cell]
    return 2 * sum(_NUMBER.match(cell) is None for cell in filled) > len(filled)


def _inline(text: str) -> str:
    """Bold words and code, and everything else as text, whatever it is."""
    found, end = [], 0
    for mark in re.finditer(r"(?<!\\)(?:\*\*(.+?)(?<!\\)\*\*|`(.+?)(?<!\\)`)", text):
        found.append(_plain(text[end : mark.start()]))
        found.append(f"<strong>{_plain(mark[1])}</strong>" if mark[1] else f"<code>{_plain(mark[2])}</code>")
        end = mark.end()
    return "".join([*found, _plain(text[end:])])


def _plain(text: str) -> str:
    return html.escape(html.unescape(re.sub(r"\\(.)", r"\1", text)))
