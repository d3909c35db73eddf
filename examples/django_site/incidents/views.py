"""The site's page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from incidents.models import Incident
from realtime_client.integrations.django import realtime


def index(request: HttpRequest) -> HttpResponse:
    """The figures of the feed, which this process follows from the first such request on, and what was kept."""
    context = {
        "status": realtime.client.status,
        "stats": realtime.store.stats,
        "incidents": Incident.objects.all()[:20],
    }
    return render(request, "incidents/index.html", context)
