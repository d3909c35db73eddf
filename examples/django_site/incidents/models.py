"""What is kept."""

from django.db import models


class Incident(models.Model):
    """One anomaly of the feed."""

    log_id = models.TextField(unique=True)
    at = models.DateTimeField(null=True)
    level = models.TextField()
    source = models.TextField()
    message = models.TextField()

    class Meta:
        """The newest first."""

        ordering = ("-id",)

    def __str__(self) -> str:
        """One line."""
        return f"{self.level} {self.source}: {self.message}"
