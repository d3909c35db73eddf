"""The site's addresses."""

from django.contrib import admin
from django.urls import include, path
from incidents.views import index

urlpatterns = [
    path("", index),
    path("admin/", admin.site.urls),
    path("realtime/", include("realtime_client.integrations.django.urls")),
]
