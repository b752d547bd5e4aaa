"""The metrics as URLs of the project."""

from __future__ import annotations

from django.urls import include, path

from django_door import urls

urlpatterns = [
    path("", include("prom_middleware.django.urls")),
    path("inner/", include("prom_middleware.django.urls")),
    *urls.urlpatterns,
]
