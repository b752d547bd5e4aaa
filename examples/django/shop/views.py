"""The shop's pages."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.contrib.auth import authenticate, login
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.views.decorators.http import require_http_methods

ITEMS = 100


def home(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"hello": request.user.get_username() or "stranger", "items": ITEMS})


def item(request: HttpRequest, item_id: int) -> JsonResponse:
    if item_id >= ITEMS:
        raise Http404("No such item.")
    return JsonResponse({"id": item_id, "price": item_id * 100})


@require_http_methods(["GET", "POST"])
def log_in(request: HttpRequest) -> HttpResponse:
    """Give the token that the form has to bring back, or log in with it."""
    if request.method == "GET":
        return JsonResponse({"csrfmiddlewaretoken": get_token(request)})
    user = authenticate(request, **{key: request.POST.get(key) for key in ("username", "password")})
    if user is None:
        return HttpResponse("Wrong name or password.\n", status=401)
    login(request, user)
    return HttpResponse(status=204)


@login_required
def account(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.user.get_username()})


def boom(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("An error that nobody catches.")


def report(request: HttpRequest) -> StreamingHttpResponse:
    """Answer in chunks: the time that counts is that of the last one."""

    def rows() -> Iterator[str]:
        for number in range(5):
            time.sleep(0.02)
            yield f"{number},{number * 100}\n"

    return StreamingHttpResponse(rows(), content_type="text/csv")
