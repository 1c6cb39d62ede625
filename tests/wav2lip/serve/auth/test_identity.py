"""Client identity: cookies of visitors and logins."""

from __future__ import annotations

import pytest

from tests.helpers.serve import UNLIMITED, submit_job
from wav2lip.errors import InputError
from wav2lip.serve.auth.api_keys import manage_keys
from wav2lip.serve.auth.identity import ClientResolver
from wav2lip.serve.middleware import auth
from wav2lip.serve.settings import Settings


def test_login_lasts_until_key_is_revoked(start_server, key_file):
    path, keys = key_file
    client = start_server(keys=path)
    assert client.get("/", follow_redirects=False).headers["location"] == "login"
    assert "password" in client.get("/").text
    assert client.post("/login", data={"key": "w2l_wrong"}).status_code == 401
    response = client.post("/login", data={"key": keys["ann"]}, follow_redirects=False)
    assert response.status_code == 303
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and keys["ann"] not in cookie
    assert client.get("/v1/models").status_code == 200 and client.get("/config").json()["title"]
    manage_keys(["remove", "ann", "--file", str(path)])
    assert client.get("/v1/models").status_code == 401


def test_forged_cookie_is_rejected(start_server, key_file):
    path, keys = key_file
    client = start_server(keys=path)
    client.post("/login", data={"key": keys["ann"]})
    valid = client.cookies["wav2lip"]
    encoded, signature = valid.split(".")
    renamed = bytes.fromhex(encoded).decode().replace("ann", "bob").encode().hex()
    forged_cookies = (
        f"{renamed}.{signature}",
        f"{encoded}.{'0' * 64}",
        encoded,
        "",
        ".",
        "é.é",
        f"{encoded}.{signature}x",
    )
    for forged in forged_cookies:
        client.cookies.clear()
        assert client.get("/v1/models", headers={"Cookie": f"wav2lip={forged}".encode()}).status_code == 401, forged
    assert client.get("/v1/models", headers={"Cookie": f"wav2lip={valid}"}).status_code == 200


def test_visitors_without_keys_are_separated_by_cookie(start_server, media):
    client = start_server()
    first = client.get("/").headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    second = client.get("/").headers["set-cookie"]
    client.cookies.clear()
    assert "HttpOnly" in second and "SameSite=Lax" in second
    client.headers["Cookie"] = first
    assert "set-cookie" not in client.get("/").headers  # a returning visitor
    job = submit_job(client, media).json()["id"]
    assert client.get(f"/v1/jobs/{job}").status_code == 200
    client.headers["Cookie"] = second.partition(";")[0]
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    del client.headers["Cookie"]  # identified by address
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert client.get("/v1/jobs").json() == []


def test_visitor_cookies_of_an_address_are_bounded(start_server, monkeypatch):
    monkeypatch.setattr(auth, "VISITORS_PER_HOUR", 3)
    client = start_server(requests_per_minute=UNLIMITED)
    cookies = set()
    for _ in range(6):
        client.cookies.clear()
        cookies.add(client.get("/").headers.get("set-cookie"))
    assert None in cookies and len(cookies) == 3 + 1


@pytest.mark.parametrize("size", [0, 31])
def test_short_cookie_secret_is_refused(tmp_path, size):
    (tmp_path / "secret").write_bytes(bytes(size))
    with pytest.raises(InputError, match=rf"secret: has {size} bytes instead of 32"):
        ClientResolver(Settings(data=tmp_path))


def test_cookie_secret_is_written_completely_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed here")))
    with pytest.raises(OSError, match="killed here"):
        ClientResolver(Settings(data=tmp_path / "data"))
    assert list((tmp_path / "data").iterdir()) == []
    monkeypatch.undo()
    ClientResolver(Settings(data=tmp_path / "data"))
    assert (tmp_path / "data" / "secret").stat().st_size == 32
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o077 == 0
