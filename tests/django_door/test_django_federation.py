"""/federate as a URL of a Django project."""

from __future__ import annotations

import pytest

from django_door.project import Project


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_a_url_that_ends_so(server: str) -> None:
    with Project(server, ROOT_URLCONF="django_door.federate_urls") as project:
        project.fetch("GET", "/u/3/")
        answer = project.fetch("GET", "/federate?match[]=http_requests_total")
        refused = project.fetch("GET", "/federate")
    first, second, third = answer.body.decode().splitlines()
    assert first.startswith("# HELP http_requests_total ")
    assert second == "# TYPE http_requests_total counter"
    assert third.startswith('http_requests_total{method="GET",route="/u/')
    assert len(third.rpartition(" ")[2]) == len("1700000000000")
    assert (refused.status, refused.body) == (400, b"no match[] parameter provided\n")
