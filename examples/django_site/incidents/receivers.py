"""What is done with the feed, in the one process that runs ``manage.py realtime listen``."""

from typing import Any

from django.dispatch import receiver

from incidents.models import Incident
from realtime_client import NewAnomaly
from realtime_client.integrations.django.signals import new_anomaly


@receiver(new_anomaly)
def keep(event: NewAnomaly, **_: Any) -> None:
    """Keep an anomaly; one that comes again, with better causes for instance, replaces itself."""
    log = event.log
    Incident.objects.update_or_create(
        log_id=log.id,
        defaults={"at": log.timestamp, "level": log.level, "source": log.source, "message": log.message},
    )
