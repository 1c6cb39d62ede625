"""What MkDocs is told beside mkdocs.yml: the page of benchmarks lies outside docs/, where its figures are made."""

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
    """Take benchmarks/RESULTS.md in as a page; links from it lead into docs/."""
    text = (ROOT / RESULTS).read_text(encoding="utf-8").replace("](../docs/", "](")
    files.append(File.generated(config, PAGE, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Turn links to it to where it is on the site; in the repository they lead to the file."""
    return markdown.replace(f"](../{RESULTS}", f"]({PAGE}")


def on_page_content(html: str, **_: object) -> str:
    """Keep flags in one piece where a long command goes on in the next line: browsers break after a dash."""
    return re.sub(r"<pre.*?</pre>", _whole_flags, html, flags=re.DOTALL)


def _whole_flags(block: re.Match[str]) -> str:
    return re.sub(r"(?<=\s)--\w[\w-]*", r'<span class="flag">\g<0></span>', block[0])


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Say which language a translated page is in: browsers choose the shapes of Chinese signs by that."""
    folder = page.file.src_uri.partition("/")[0]
    return output.replace('<html lang="en"', f'<html lang="{folder}"', 1) if folder in TRANSLATIONS else output
