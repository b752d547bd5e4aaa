"""What a middleware may choose by `request.urlconf`."""

from __future__ import annotations

from django.urls import path

from django_door import views

urlpatterns = [path("other/<slug:name>/", views.root)]
