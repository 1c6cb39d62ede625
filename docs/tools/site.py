"""What MkDocs is told beside mkdocs.yml: the page of benchmarks lies outside docs/, where its figures are made."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
RESULTS = "benchmarks/RESULTS.md"
PAGE = "benchmarks.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take benchmarks/RESULTS.md in as a page; links from it lead into docs/."""
    text = (ROOT / RESULTS).read_text(encoding="utf-8").replace("](../docs/", "](")
    files.append(File.generated(config, PAGE, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Turn links to it to where it is on the site; in the repository they lead to the file."""
    return markdown.replace(f"](../{RESULTS}", f"]({PAGE}")
