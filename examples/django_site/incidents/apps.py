"""The app."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """Connects its receivers; which connects nothing to the feed."""

    name = "incidents"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the receivers, as Django has it."""
        from incidents import receivers  # noqa: F401, PLC0415
