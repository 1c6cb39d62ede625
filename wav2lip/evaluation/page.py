"""The results as one HTML file that needs nothing else: tables, curves as SVG, faces as pictures within."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from wav2lip.evaluation.records import Records, write_whole
from wav2lip.evaluation.report import Table, tables
from wav2lip.evaluation.results import Results
from wav2lip.evaluation.totals import mean_curve
from wav2lip.shift_curve import SHIFTS, ShiftCurve

STRIPS = 12  # clips whose faces are shown
WIDTH, HEIGHT, EDGE = 640, 300, 48  # pixels of a drawing, and of its margin
COLOURS = ("#222222", "#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#148f77", "#5d6d7e")
JUDGES = {"lse": "SyncNet v2: mean distance", "expert": "expert: mean distance, 1 - cosine"}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;display:block;overflow-x:auto}
svg{max-width:100%;height:auto} td,th{border:1px solid #ccc;padding:.25em .6em;text-align:left;vertical-align:top}
th{background:#f2f2f2} .strip td{padding:2px} img{display:block} p{max-width:80em}
"""


def write_page(results: Results) -> Path:
    """report.html."""
    parts = [f"<h1>{escape(results.title)}</h1>"]
    told = tables(results)
    parts += [_table(table) for table in told[:1]]
    parts += _curves(results)
    parts += _strips(results)
    parts += [_table(table) for table in told[1:]]
    metas = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f'<!doctype html><html lang="en">{metas}<title>{escape(results.title)}</title>'
    page = f"{head}<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    path = results.folder / "report.html"
    write_whole(path, lambda partial: partial.write_text(page, encoding="utf-8"))
    return path


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2>{note}<table><tr>{head}</tr>{rows}</table>"


def _curves(results: Results) -> list[str]:
    parts = []
    for judge, title in JUDGES.items():
        curves = {name: mean_curve(some, judge) for name, some in results.records.items()}
        there = {name: curve for name, curve in curves.items() if curve is not None}
        if there:
            parts.append(f"<h2>Distance against shift</h2><p>{escape(title)}; mean over clips</p>{drawing(there)}")
    return parts


def drawing(curves: Mapping[str, ShiftCurve]) -> str:
    """Curves over SHIFTS as SVG, one colour for each name, the least of each marked."""
    low = min(curve.least for curve in curves.values())
    high = max(float(curve.distance.max()) for curve in curves.values())
    span = high - low or 1.0

    def x(shift: float) -> float:
        return EDGE + (shift - SHIFTS[0]) / (len(SHIFTS) - 1) * (WIDTH - 2 * EDGE)

    def y(distance: float) -> float:
        return HEIGHT - EDGE - (distance - low) / span * (HEIGHT - 2 * EDGE)

    parts = [f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{EDGE}" y2="{HEIGHT - EDGE}" stroke="#bbb"/>']
    for shift in SHIFTS[::5]:
        parts.append(f'<text x="{x(shift):.1f}" y="{HEIGHT - EDGE + 18}" text-anchor="middle">{_signed(shift)}</text>')
    for value in (low, (low + high) / 2, high):
        parts.append(f'<text x="{EDGE - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for n, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[n % len(COLOURS)]
        points = " ".join(f"{x(s):.1f},{y(d):.1f}" for s, d in zip(SHIFTS, curve.distance.tolist(), strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<circle cx="{x(curve.offset):.1f}" cy="{y(curve.least):.1f}" r="4" fill="{colour}"/>')
        parts.append(
            f'<text x="{WIDTH + 8}" y="{EDGE + 18 * n}" fill="{colour}">{escape(name)}: {_signed(curve.offset)}</text>'
        )
    label = (
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">frames that the sound lies after the lips</text>'
    )
    size = f'viewBox="0 0 {WIDTH + 260} {HEIGHT}" width="{WIDTH + 260}" font-size="12"'
    return f"<svg {size}>{''.join(parts)}{label}</svg>"


def _signed(shift: int) -> str:
    return f"{shift:+d}" if shift else "0"


def _strips(results: Results) -> list[str]:
    records = Records(results.folder)
    clips = list(dict.fromkeys(r.clip for some in results.records.values() for r in some if r.failed is None))
    rows = []
    for clip in clips[:STRIPS]:
        for system in results.records:
            picture = records.place(system, clip, ".jpg")
            if picture.is_file():
                data = base64.b64encode(picture.read_bytes()).decode()
                image = f'<img alt="faces of {escape(clip)}" src="data:image/jpeg;base64,{data}">'
                rows.append(f"<tr><td>{escape(clip)}<br>{escape(system)}</td><td>{image}</td></tr>")
    return [f'<h2>Faces</h2><table class="strip">{"".join(rows)}</table>'] if rows else []
