"""A small project: users, sessions, and the feed."""

from __future__ import annotations

import tempfile

SECRET_KEY = "not a secret"
ALLOWED_HOSTS = ["*"]
TIME_ZONE = "UTC"  # Django sets the whole process to it
USE_TZ = True
ROOT_URLCONF = "tests.django.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "realtime_client.integrations.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
# A file: connections to a database in memory are never closed.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tempfile.mkdtemp()}/db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REALTIME_CLIENT = {"URL": "ws://127.0.0.1:9/ws"}
