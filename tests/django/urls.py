"""The project's addresses."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page that knows nothing of the feed")


urlpatterns = [
    path("", index),
    path("ops/realtime/", include("realtime_client.integrations.django.urls")),
]
