"""
Settings of the example, taken from the environment or a ``.env`` file.

Everything has a default that runs on this machine alone; see ``.env.example``.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")
# A name with nothing behind its «=» is as good as no name.
env.ENVIRON = {name: value for name, value in os.environ.items() if value.strip()}

DEBUG = env.bool("DJANGO_DEBUG", default=False)
# Good enough for a site on loopback; anything else sets its own.
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="the example's key is no secret")
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_esdb",
    "example_project.training_school",
    "example_project.showcase",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    # The first of these languages that the browser asks for.
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_esdb.middleware.EventMetadataMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

DATABASES = {
    "default": env.db_url(
        "DATABASE_URL", default=f"sqlite:///{quote(str(BASE_DIR / 'db.sqlite3'))}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # The site reads while the projection writes, and writers wait for each
    # other instead of failing half-way.
    DATABASES["default"]["OPTIONS"] = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = env.str("DJANGO_LANGUAGE_CODE", default="en") or "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "example_project" / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"

# Whether there are further projections, for the operator to see and do things.
SHOWCASE = env.bool("EXAMPLE_SHOWCASE", default=False)

ESDB_URI = env.str("EVENTSTOREDB_URI", default="esdb://localhost:2113?Tls=false")
ESDB_ROOT_CERTIFICATES = env.str(
    "EVENTSTOREDB_ROOT_CERTIFICATES", multiline=True, default=""
)
ESDB_LEASE_SECONDS = env.float("ESDB_LEASE_SECONDS", default=10.0)
ESDB_RETRIES = env.int("ESDB_RETRIES", default=5)
