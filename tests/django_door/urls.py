from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path, re_path
from django.utils.translation import gettext_lazy

from django_door import views

included = [
    path("c/<slug:s>/", views.root),
    re_path(r"^d/(?P<y>[0-9]{4})/$", views.root),
]
urlpatterns = [
    path("", views.root),
    path("u/<int:id>/", views.user),
    path("a/<int:id>/", views.async_user),
    path("only/", views.only),
    path("h404/", views.missing),
    path("boom/", views.boom),
    path("aboom/", views.async_boom),
    path("exit/", views.leave),
    path("inc/<str:tenant>/", include(included)),
    re_path(r"^re/(\d+)/$", views.positional),
    re_path(r"^opt/(?P<year>\d{4})(?:/(?P<page>\d+))?/\Z", views.root),
    re_path(r"^not/(?P<rest>[^/]+)/$", views.root),
    path("post/", views.post_size),
    path("lines/", views.read_lines),
    path("unread/", views.no_read),
    path("st/", views.stream),
    path("ast/", views.async_stream),
    path("stboom/", views.stream_boom),
    path("astboom/", views.async_stream_boom),
    path("events/", views.events),
    path("eventsboom/", views.events_boom),
    path("fr/", views.file),
    path("mfr/", views.memory_file),
    path("aslow/", views.slow),
    path("slowst/", views.slow_stream),
    path("acancelled/", views.cancelled_task),
    path("acancelledst/", views.cancelled_stream),
    path("aslowst/", views.waiting_stream),
    path(gettext_lazy("Monday"), views.root),
    *i18n_patterns(path("loc/<int:x>/", views.root)),
]
