"""The project's URLs, and /federate."""

from __future__ import annotations

from django.urls import path

from django_door import urls
from prom_middleware.django.urls import metrics

urlpatterns = [path("federate", metrics), *urls.urlpatterns]
