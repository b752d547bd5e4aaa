"""Where the shop's pages are."""

from __future__ import annotations

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home),
    path("items/<int:item_id>/", views.item),
    path("login/", views.log_in),
    path("account/", views.account),
    path("boom/", views.boom),
    path("report/", views.report),
]
