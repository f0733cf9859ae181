"""What can be done at the school."""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

from eventsourcing.application import Application

from example_project.training_school.domain import Dog


class DogDetails(TypedDict):
    name: str
    tricks: tuple[str, ...]


class TrainingSchool(Application[UUID]):
    """Each method that records something returns the last notification's ID."""

    def register(self, name: str) -> int:
        recordings = self.save(Dog(name))
        return recordings[-1].notification.id

    def add_trick(self, name: str, trick: str) -> int:
        dog = self._get_dog(name)
        dog.add_trick(trick)
        recordings = self.save(dog)
        return recordings[-1].notification.id

    def get_dog_details(self, name: str) -> DogDetails:
        dog = self._get_dog(name)
        return {"name": dog.name, "tricks": tuple(dog.tricks)}

    def _get_dog(self, name: str) -> Dog:
        return self.repository.get(Dog.create_id(name))
