"""Pages that ask who is there, and the metrics behind the same questions."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from prom_middleware.django.urls import metrics

try:
    from django.contrib.auth.decorators import login_not_required
except ImportError:  # before Django 5.1 there is no LoginRequiredMiddleware to opt out of

    def login_not_required(view):  # type: ignore[no-untyped-def]
        return view


@login_not_required
def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse("public")


@login_not_required
def visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


@login_not_required
def unauthorized(request: HttpRequest, id: int) -> HttpResponse:  # noqa: A002
    return HttpResponse("who are you?", status=401, headers={"WWW-Authenticate": "Basic"})


def page(request: HttpRequest, id: int) -> HttpResponse:  # noqa: A002
    return HttpResponse(f"{request.user} {id}")


staff = permission_required("auth.change_user", raise_exception=True)(page)
urlpatterns = [
    path("public/", public),
    path("visits/", visits),
    path("api/<int:id>/", unauthorized),
    path("orders/<int:id>/", login_required(page)),
    path("bare/<int:id>/", page),
    path("log-in/", public),
    path("staff/", include([path("users/<int:id>/", staff)])),
    path("guarded/metrics", login_required(metrics)),
    path("superuser/metrics", permission_required("x.y", raise_exception=True)(metrics)),
    path("", include("prom_middleware.django.urls")),
]
