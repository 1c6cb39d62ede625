"""Building blocks of HTML reports that require no other file."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from html import escape


def page(title: str, body: str, style: str, script: str = "") -> str:
    """Return a complete document. body, style, script: markup, inserted unescaped."""
    scripts = f"<script>\n{script}</script>\n" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
{scripts}</body>
</html>
"""


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Collection[int] = (), label: str = "",
    css: str = "", attributes: str = "",
) -> str:  # fmt: skip
    """Return a table.

    head: texts. rows: cells as markup. numeric: indices of right-aligned columns, of class "numeric".
    label: name for screen readers; if set, every element has an ARIA role, because browsers drop the roles of tables
        that a style sheet lays out as blocks. attributes: further attributes of the table, as markup.
    """
    columns = [' class="numeric"' if n in numeric else "" for n in range(len(head))]
    header = _row("columnheader", "th", map(escape, head), columns, bool(label))
    body = "\n".join(_row("cell", "td", row, columns, bool(label)) for row in rows)
    group = ' role="rowgroup"' if label else ""
    name = f' role="table" aria-label="{escape(label)}"' if label else ""
    return (
        f"<table{_attribute('class', css)}{name}{' ' if attributes else ''}{attributes}>"
        f"<thead{group}>{header}</thead><tbody{group}>\n{body}</tbody></table>"
    )


def _row(role: str, tag: str, cells: Iterable[str], columns: Sequence[str], has_roles: bool) -> str:
    row, cell = (' role="row"', f' role="{role}"') if has_roles else ("", "")
    content = "".join(f"<{tag}{cell}{column}>{markup}</{tag}>" for markup, column in zip(cells, columns, strict=True))
    return f"<tr{row}>{content}</tr>"


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""


def section(title: str, content: str, css: str = "") -> str:
    """Return a section with a heading; content: markup."""
    return f"<section{_attribute('class', css)}><h2>{escape(title)}</h2>{content}</section>"


def figure(title: str, detail: str, content: str) -> str:
    """Return a figure with a caption; content: markup."""
    caption = f'<b>{escape(title)}</b> <span class="muted">{escape(detail)}</span>'
    return f"<figure><figcaption>{caption}</figcaption>{content}</figure>"


def jpeg_image(data: bytes, alt: str, attributes: str = "") -> str:
    """Return an embedded JPEG image. attributes: further attributes, as markup."""
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    return f'<img src="{source}"{" " if attributes else ""}{attributes} alt="{escape(alt)}">'
