"""Requests that Schemathesis derives from the OpenAPI document: no answer is a server error."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.helpers.serve import BASE_URL, UNLIMITED

schemathesis = pytest.importorskip("schemathesis", reason="pip install 'wav2lip-toolkit[test]'")
requests = pytest.importorskip("requests", reason="comes with schemathesis")
MAX_EXAMPLES = 5  # requests of each operation


@pytest.mark.slow
def test_no_request_is_a_server_error(start_server):
    client = start_server(requests_per_minute=UNLIMITED)
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    statuses = set()
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 12
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=MAX_EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def send(case) -> None:  # type: ignore[no-untyped-def]
            request = case.as_transport_kwargs(base_url=BASE_URL)
            if "wait" in (request.get("params") or ()):
                request["params"]["wait"] = "0"  # waiting finds no error
            sent = requests.Request(**request).prepare()
            response = client.request(sent.method, sent.url, content=sent.body, headers=dict(sent.headers))
            statuses.add(response.status_code)
            assert response.status_code < 500 or response.status_code == 503, (request, response.text)
            if response.status_code >= 400:
                assert set(response.json()) == {"error"}, (request, response.text)

        send()
    assert statuses >= {200, 404, 422}  # some requests are accepted
