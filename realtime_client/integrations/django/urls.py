"""The addresses: ``path("realtime/", include("realtime_client.integrations.django.urls"))``."""

from __future__ import annotations

from django.urls import URLPattern, path

from realtime_client.integrations.django import views

__all__ = ["app_name", "urlpatterns"]

app_name = "realtime"
urlpatterns: list[URLPattern] = [
    path("", views.dashboard, name="dashboard"),
    path("stream", views.stream, name="stream"),
    path("files/<str:name>", views.file, name="file"),
    path("health", views.health, name="health"),
    path("metrics", views.metrics, name="metrics"),
]
