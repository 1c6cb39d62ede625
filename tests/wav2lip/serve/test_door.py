"""Who may do what: keys, cookies, names of the server, pages of other sites, requests a minute."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wav2lip.serve.conftest import MANY, ended, submit
from wav2lip.errors import InputError
from wav2lip.serve import keys
from wav2lip.serve.keys import KeyFile, change


@pytest.fixture
def key_file(tmp_path, capsys) -> tuple[Path, dict[str, str]]:
    """A file with ann's and bob's keys, and the keys."""
    path, made = tmp_path / "keys", {}
    for name in ("ann", "bob"):
        change(["add", name, "--file", str(path)])
        made[name] = capsys.readouterr().out.strip()
    return path, made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# Keys ----------------------------------------------------------------------------------------------------------------


def test_a_key_is_printed_once_and_only_its_hash_is_kept(key_file):
    path, made = key_file
    assert made["ann"] != made["bob"] and len(made["ann"]) > 40
    assert not any(key in path.read_text() for key in made.values())
    assert path.stat().st_mode & 0o077 == 0
    known = KeyFile(path)
    assert [known.name_of(key) for key in (made["ann"], made["bob"], "", "w2l_guess", path.read_text().split()[1])] == [
        "ann", "bob", None, None, None,
    ]  # fmt: skip


def test_a_removed_key_ends_at_once(key_file):
    path, made = key_file
    known = KeyFile(path)
    change(["remove", "ann", "--file", str(path)])
    assert known.name_of(made["ann"]) is None and known.name_of(made["bob"]) == "bob"


def test_a_half_written_file_of_keys_ends_nobodys_and_one_that_is_gone_everybodys(key_file, server, caplog):
    path, made = key_file
    client = server(keys=path, requests_per_minute=MANY)
    whole = path.read_text()

    def answers() -> list[int]:
        return [client.get("/v1/models", headers=bearer(key)).status_code for key in (made["ann"], made["bob"], "x")]

    path.write_text(whole + "eve 0123")
    assert [answers(), answers()] == [[200, 200, 401]] * 2
    assert sum("line 3 is not a new NAME" in line for line in caplog.messages) == 1  # said once, not at each request
    path.write_text(whole.splitlines()[1] + "\n")
    assert answers() == [401, 200, 401]
    path.unlink()
    assert answers() == [401, 401, 401]
    path.write_text(whole)
    assert answers() == [200, 200, 401]


@pytest.mark.parametrize(
    "words", [["add", "ann"], ["add", "a b"], ["add", "<b>"], ["remove", "eve"], ["add", "x" * 101]], ids=str
)
def test_names_that_cannot_be_are_refused_and_the_file_stays(key_file, words):
    path, _ = key_file
    before = path.read_text()
    with pytest.raises(InputError):
        change([*words, "--file", str(path)])
    assert path.read_text() == before


@pytest.mark.parametrize(
    "line", ["ann", "ann abc", "ann " + "0" * 64 + " more", "ann " + "0" * 64 + "\nann " + "1" * 64]
)
def test_a_line_that_is_none_is_named(tmp_path, line):
    (tmp_path / "keys").write_text(line + "\n")
    with pytest.raises(InputError, match="line [12]"):
        KeyFile(tmp_path / "keys")


def test_the_command_prints_a_key_and_explains_itself(tmp_path):
    done = subprocess.run([sys.executable, "-m", keys.__name__, "add", "ann", "--file", tmp_path / "k"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0 and KeyFile(tmp_path / "k").name_of(done.stdout.strip()) == "ann"
    again = subprocess.run([sys.executable, "-m", keys.__name__, "add", "ann", "--file", tmp_path / "k"],
                           capture_output=True, text=True)  # fmt: skip
    assert again.returncode == 2 and again.stderr.count("\n") == 1


def test_with_keys_nothing_but_health_and_the_login_is_open(server, key_file):
    path, made = key_file
    client = server(keys=path)
    closed = [
        "/v1/jobs",
        "/v1/models",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/config",
        "/gradio_api/info",
        "/theme.css",
    ]
    for place in closed:
        answer = client.get(place)
        assert (answer.status_code, list(answer.json())) == (401, ["error"]), place
        assert client.get(place, headers=bearer("w2l_wrong")).status_code == 401
    assert client.post("/gradio_api/queue/join", json={}).status_code == 401
    assert client.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
    assert client.get("/healthz").status_code == 200
    for headers in (bearer(made["ann"]), {"X-API-Key": made["ann"]}):
        assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/config", headers=headers).status_code == 200


def test_clients_with_different_keys_do_not_see_one_another(server, media, key_file):
    path, made = key_file
    client = server(keys=path)
    client.headers.update(bearer(made["ann"]))
    job = ended(client, submit(client, media).json()["id"])
    upload = job["face"]["id"]
    client.headers.update(bearer(made["bob"]))
    assert client.get("/v1/jobs").json() == []
    for method, place in [("GET", f"/v1/jobs/{job['id']}"), ("GET", job["result"]), ("DELETE", f"/v1/jobs/{job['id']}"),
                          ("POST", f"/v1/jobs/{job['id']}/cancel"), ("GET", f"/v1/uploads/{upload}"),
                          ("DELETE", f"/v1/uploads/{upload}")]:  # fmt: skip
        assert client.request(method, place).status_code == 404, (method, place)
    assert client.post("/v1/jobs", json={"face": upload, "audio": upload}).status_code == 404
    client.headers.update(bearer(made["ann"]))
    assert client.get(job["result"]).status_code == 200


def test_a_browser_logs_in_with_a_key_until_the_key_ends(server, key_file):
    path, made = key_file
    client = server(keys=path)
    assert client.get("/", follow_redirects=False).headers["location"] == "login"
    assert "password" in client.get("/").text
    assert client.post("/login", data={"key": "w2l_wrong"}).status_code == 401
    answer = client.post("/login", data={"key": made["ann"]}, follow_redirects=False)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and made["ann"] not in cookie
    assert client.get("/v1/models").status_code == 200 and client.get("/config").json()["title"]
    change(["remove", "ann", "--file", str(path)])
    assert client.get("/v1/models").status_code == 401


def test_a_forged_cookie_is_nobodys(server, key_file):
    path, made = key_file
    client = server(keys=path)
    client.post("/login", data={"key": made["ann"]})
    good = client.cookies["wav2lip"]
    packed, seal = good.split(".")
    bobs = bytes.fromhex(packed).decode().replace("ann", "bob").encode().hex()
    for forged in (f"{bobs}.{seal}", f"{packed}.{'0' * 64}", packed, "", ".", "é.é", f"{packed}.{seal}x"):
        client.cookies.clear()
        assert client.get("/v1/models", headers={"Cookie": f"wav2lip={forged}".encode()}).status_code == 401, forged
    assert client.get("/v1/models", headers={"Cookie": f"wav2lip={good}"}).status_code == 200


# Without keys --------------------------------------------------------------------------------------------------------


def test_without_keys_each_browser_has_its_own_jobs_and_programs_go_by_address(server, media):
    client = server()
    first = client.get("/").headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    second = client.get("/").headers["set-cookie"]
    client.cookies.clear()
    assert "HttpOnly" in second and "SameSite=Lax" in second
    client.headers["Cookie"] = first
    assert "set-cookie" not in client.get("/").headers  # it is known now
    job = submit(client, media).json()["id"]
    assert client.get(f"/v1/jobs/{job}").status_code == 200
    client.headers["Cookie"] = second.partition(";")[0]
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    del client.headers["Cookie"]
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert client.get("/v1/jobs").json() == []


# Other sites ---------------------------------------------------------------------------------------------------------


ELSEWHERE = ["https://evil.example", "null", "http://127.0.0.1:8000", "http://127.0.0.1.evil.example"]
CHANGING = [
    ("POST", "/v1/jobs"), ("POST", "/v1/uploads"), ("DELETE", "/v1/jobs/x"), ("POST", "/v1/jobs/x/cancel"),
    ("POST", "/login"), ("POST", "/gradio_api/upload"), ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/call/predict"),
]  # fmt: skip


def test_a_page_of_another_site_cannot_start_or_cancel_anything(server):
    client = server()
    client.get("/")  # the visitor has been here
    for origin, (method, place) in itertools.product(ELSEWHERE, CHANGING):
        answer = client.request(method, place, headers={"Origin": origin})
        assert (answer.status_code, list(answer.json())) == (403, ["error"]), (origin, place)
    assert client.post("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    own = client.post("/v1/jobs", headers={"Origin": "http://127.0.0.1"})
    assert own.status_code == 422  # read, and empty


def test_a_foreign_name_for_this_address_is_refused_on_loopback(server):
    client = server(allowed_hosts=("video.example",))
    for host in ("evil.example", "evil.example:7860", "", "[", "127.0.0.1.evil.example"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 403, host
    for host in ("localhost", "127.0.0.1:7860", "[::1]:7860", "video.example"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200, host


# How many ------------------------------------------------------------------------------------------------------------


def test_more_requests_than_a_client_may_send_are_refused_and_the_page_still_loads(server, key_file):
    path, made = key_file
    client = server(requests_per_minute=5, keys=path)
    client.headers.update(bearer(made["ann"]))
    answers = [client.get("/v1/models") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert "5 requests a minute" in answers[-1].json()["error"] and answers[-1].headers["retry-after"]
    assert client.get("/").status_code == 200 and client.get("/healthz").status_code == 200
    client.headers.update(bearer(made["bob"]))
    assert client.get("/v1/models").status_code == 200


def test_keys_cannot_be_tried_out_without_end(server, key_file):
    path, _ = key_file
    client = server(requests_per_minute=5, keys=path)
    answers = [client.get("/v1/models", headers=bearer(f"w2l_{guess}")).status_code for guess in range(7)]
    assert answers == [401] * 5 + [429] * 2
