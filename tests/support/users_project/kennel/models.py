from __future__ import annotations

from uuid import UUID, uuid4

from django.db import models


class KennelDog(models.Model):
    # Checkers without a plugin for Django have to be told.
    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid4)
    name: models.CharField[str, str] = models.CharField(max_length=255)
    tricks: models.IntegerField[int, int] = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.name
