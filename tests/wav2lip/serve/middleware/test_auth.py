"""AuthMiddleware: keys, host names, origins and rate limit."""

from __future__ import annotations

import itertools

import pytest

from tests.helpers.serve import bearer, submit_job, wait_for_end
from wav2lip.errors import InputError
from wav2lip.serve.settings import parse_settings

PROTECTED_PATHS = [
    "/v1/jobs", "/v1/models", "/metrics", "/docs", "/openapi.json", "/config", "/gradio_api/info", "/theme.css",
]  # fmt: skip
FOREIGN_ORIGINS = ["https://evil.example", "null", "http://127.0.0.1:8000", "http://127.0.0.1.evil.example"]
UNSAFE_REQUESTS = [
    ("POST", "/v1/jobs"), ("POST", "/v1/uploads"), ("DELETE", "/v1/jobs/x"), ("POST", "/v1/jobs/x/cancel"),
    ("POST", "/login"), ("POST", "/gradio_api/upload"), ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/call/predict"),
]  # fmt: skip


def test_keys_protect_all_but_health_and_login(start_server, key_file):
    path, keys = key_file
    client = start_server(keys=path)
    for protected in PROTECTED_PATHS:
        response = client.get(protected)
        assert (response.status_code, list(response.json())) == (401, ["error"]), protected
        assert client.get(protected, headers=bearer("w2l_wrong")).status_code == 401
    assert client.post("/gradio_api/queue/join", json={}).status_code == 401
    assert client.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
    assert client.get("/healthz").status_code == 200
    for headers in (bearer(keys["ann"]), {"X-API-Key": keys["ann"]}):
        assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/config", headers=headers).status_code == 200


def test_clients_cannot_access_each_other(start_server, media, key_file):
    path, keys = key_file
    client = start_server(keys=path)
    client.headers.update(bearer(keys["ann"]))
    job = wait_for_end(client, submit_job(client, media).json()["id"])
    upload = job["face"]["id"]
    client.headers.update(bearer(keys["bob"]))
    assert client.get("/v1/jobs").json() == []
    requests = [
        ("GET", f"/v1/jobs/{job['id']}"), ("GET", job["result"]), ("DELETE", f"/v1/jobs/{job['id']}"),
        ("POST", f"/v1/jobs/{job['id']}/cancel"), ("GET", f"/v1/uploads/{upload}"), ("DELETE", f"/v1/uploads/{upload}"),
    ]  # fmt: skip
    for method, request_path in requests:
        assert client.request(method, request_path).status_code == 404, (method, request_path)
    assert client.post("/v1/jobs", json={"face": upload, "audio": upload}).status_code == 404
    client.headers.update(bearer(keys["ann"]))
    assert client.get(job["result"]).status_code == 200


def test_foreign_origin_cannot_change_anything(start_server):
    client = start_server()
    client.get("/")  # sets the visitor's cookie
    for origin, (method, path) in itertools.product(FOREIGN_ORIGINS, UNSAFE_REQUESTS):
        response = client.request(method, path, headers={"Origin": origin})
        assert (response.status_code, list(response.json())) == (403, ["error"]), (origin, path)
    assert client.post("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    own = [{"Origin": "http://127.0.0.1"}, {"Origin": "HTTP://127.0.0.1:80"},
           {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
           {"Origin": "https://Localhost", "Host": "localhost:443"}]  # fmt: skip
    for headers in own:
        response = client.post("/v1/jobs", headers=headers)
        assert response.status_code == 422, headers  # reaches the route, which rejects the empty body


def test_listed_origin_may_use_the_api(start_server, key_file):
    path, keys = key_file
    client = start_server(keys=path, origins=("https://app.example",))
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = client.options("/v1/jobs", headers={"Origin": "https://app.example", **asked})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "https://app.example")
    headers = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site", **bearer(keys["ann"])}
    response = client.post("/v1/jobs", headers=headers)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (422, "https://app.example")
    foreign = client.post("/v1/jobs", headers=headers | {"Origin": "https://app.example.evil"})
    assert foreign.status_code == 403 and "access-control-allow-origin" not in foreign.headers
    assert client.options("/v1/jobs", headers={"Origin": "https://evil.example", **asked}).status_code == 400


@pytest.mark.parametrize("flags", [
    ["--origin", "app.example"], ["--origin", "https://app.example/path"], ["--origin", "https://a:b"],
    ["--root_path", "lipsync"], ["--root_path", "/lipsync/"], ["--root_path", "/a b"],
])  # fmt: skip
def test_invalid_origin_or_root_path_is_one_sentence(media, flags):
    with pytest.raises(InputError, match=flags[0]):
        parse_settings(["--checkpoint", str(media / "thin.pth"), *flags])


def test_foreign_host_is_rejected_on_loopback(start_server):
    client = start_server(allowed_hosts=("video.example",))
    for host in ("evil.example", "evil.example:7860", "", "[", "127.0.0.1.evil.example"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 403, host
    for host in ("localhost", "127.0.0.1:7860", "[::1]:7860", "video.example"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200, host


def test_rate_limit_is_per_client_and_spares_the_page(start_server, key_file):
    path, keys = key_file
    client = start_server(requests_per_minute=5, keys=path)
    client.headers.update(bearer(keys["ann"]))
    responses = [client.get("/v1/models") for _ in range(8)]
    assert [response.status_code for response in responses] == [200] * 5 + [429] * 3
    assert "5 requests per minute" in responses[-1].json()["error"] and responses[-1].headers["retry-after"]
    assert client.get("/").status_code == 200 and client.get("/healthz").status_code == 200
    assert [client.get("/docs").status_code for _ in range(51)].count(429) >= 1  # ten times as many for the page
    client.headers.update(bearer(keys["bob"]))
    assert client.get("/v1/models").status_code == 200


def test_rate_limit_stops_guessing_of_keys(start_server, key_file):
    path, _ = key_file
    client = start_server(requests_per_minute=5, keys=path)
    statuses = [client.get("/v1/models", headers=bearer(f"w2l_{guess}")).status_code for guess in range(7)]
    assert statuses == [401] * 5 + [429] * 2
