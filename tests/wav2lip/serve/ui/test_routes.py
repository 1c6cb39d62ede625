"""Files under /page, and the page itself."""

from __future__ import annotations

import re

import httpx

from wav2lip.serve.ui.routes import guess_media_type


def test_page_fetches_nothing_from_other_hosts(url):
    page = httpx.get(url).text
    links = re.findall(r"""(?:src|href)=["'](https?:[^"']+)""", page)
    assert [link for link in links if not link.startswith(url)] == []
    assert "fonts.googleapis" not in page


def test_images_of_runs_are_served_by_listed_names_only(url):
    query = {"run": "speakers/expert", "tag": "val", "step": 4}
    image = httpx.get(f"{url}page/images", params=query)
    assert image.content.startswith(b"\x89PNG")
    assert httpx.get(f"{url}page/images", params=query | {"step": 5}).status_code == 404
    preview = httpx.get(f"{url}page/previews", params={"run": "speakers/expert", "file": "../x"})
    assert preview.status_code == 404
    assert httpx.get(f"{url}page/jobs/forged/face").status_code == 404
    assert httpx.get(f"{url}page/examinations/forged").status_code == 404


def test_consent_page_has_the_rules_of_the_docs(url, request):
    page = httpx.get(f"{url}page/consent").text
    docs = (request.config.rootpath / "docs" / "consent.md").read_text(encoding="utf-8")
    rules = re.findall(r"- \*\*(.+?)\*\*", docs)
    assert len(rules) == 4
    assert re.findall(r"<b>(.+?)</b>", page) == rules


def test_guess_media_type_never_returns_an_executable_type():
    names = ("a.html", "a.svg", "a.xhtml", "a.mp4", "a.PNG", "a")
    assert [guess_media_type(name) for name in names] == [
        *["application/octet-stream"] * 3, "video/mp4", "image/png", "application/octet-stream",
    ]  # fmt: skip


def test_scripts_of_the_live_tab_are_served_and_nothing_else(url):
    script = httpx.get(f"{url}page/scripts/live.js")
    assert script.headers["content-type"].startswith("text/javascript")
    imported = re.findall(r'from "\./(\w+\.js)"|new URL\("(\w+\.js)"', script.text + _script(url, "live_microphone.js"))
    names = {first or second for first, second in imported}
    assert names == {"live_microphone.js", "live_player.js", "live_worklet.js"}
    assert all(_script(url, name) for name in names)
    for name in ("players.js", "live.py", "..%2Fstyle.css"):
        assert httpx.get(f"{url}page/scripts/{name}").status_code == 404


def _script(url: str, name: str) -> str:
    return httpx.get(f"{url}page/scripts/{name}").raise_for_status().text
