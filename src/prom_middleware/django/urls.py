"""The metrics as a URL: `path("", include("prom_middleware.django.urls"))` gives `/metrics`."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from prom_middleware.django.requests import answer_scrape


@csrf_exempt  # POST is answered by 405, as everywhere
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape, behind whatever middleware the project has."""
    return answer_scrape(request)


urlpatterns = [
    path("metrics", metrics, name="prom_middleware_metrics"),
    path("metrics/", metrics),
]
