"""The incidents in the admin."""

from django.contrib import admin

from incidents.models import Incident

admin.site.register(Incident)
