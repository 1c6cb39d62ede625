"""Links in README and docs lead to existing files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_readme_has_one_test_command():
    commands = re.findall(r"^python3 -m venv .* -m pytest -n 2$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert len(commands) == 1
