"""MkDocs hooks: the benchmark page outside docs/, unbroken flags, and the language of translated pages."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
RESULTS = "benchmarks/RESULTS.md"
PAGE = "benchmarks.md"
TRANSLATIONS = ("ru", "zh")  # folders of docs/


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add benchmarks/RESULTS.md as a page, with its links into docs/ adapted."""
    text = (ROOT / RESULTS).read_text(encoding="utf-8").replace("](../docs/", "](")
    files.append(File.generated(config, PAGE, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links to benchmarks/RESULTS.md, which lead to the file in the repository, to its page."""
    return markdown.replace(f"](../{RESULTS}", f"]({PAGE}")


def on_page_content(html: str, **_: object) -> str:
    """Keep flags unbroken in wrapped commands: browsers break lines after a hyphen."""
    return re.sub(r"<pre.*?</pre>", _wrap_flags, html, flags=re.DOTALL)


def _wrap_flags(block: re.Match[str]) -> str:
    return re.sub(r"(?<=\s)--\w[\w-]*", r'<span class="flag">\g<0></span>', block[0])


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Set the language of a translated page: browsers choose the glyphs of Chinese characters by it."""
    folder = page.file.src_uri.partition("/")[0]
    return output.replace('<html lang="en"', f'<html lang="{folder}"', 1) if folder in TRANSLATIONS else output
