"""Characters that are anchors in a `re_path()`, and any others in a `path()`."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path, re_path

from django_door import views

included = [
    path("$count", views.root),
    path("$", views.root),
    re_path(r"^$", views.root),
    re_path(r"^last/\Z", views.root),
]
urlpatterns = [
    path("odata/$metadata/", views.root),
    path("odata/metadata/", views.root),
    path("items/", include(included)),
    path("x^y/", views.root),
    path("^top/$", views.root),
    re_path(r"^top/$", views.root),
    path("", include([re_path(r"^below/$", views.root)])),
    re_path(r"\A^twice\Z$", views.root),
    re_path(r"^end$", include([path("", views.root)])),
    re_path(r"^look/(?!no$)\w+/$", views.root),
    re_path(r"(?i)^flags/$", views.root),
    re_path(r"^price/\$", views.root),
    re_path(r"^both/\$$", views.root),
    re_path(r"^back/\\$", views.root),
    *i18n_patterns(re_path(r"^lang/$", views.root), prefix_default_language=False),
]
