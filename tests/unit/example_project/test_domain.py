from __future__ import annotations

from django_esdb.testing import EventFactory, given
from example_project.training_school.domain import Dog

fido = EventFactory(Dog)
registered = fido.Registered(name="Fido")


def test_a_dog_is_registered_under_its_name() -> None:
    given().when(lambda: Dog("Fido")).then(registered)


def test_a_dog_learns_a_trick_as_often_as_one_likes() -> None:
    sit, again = fido.TrickAdded(trick="sit"), fido.TrickAdded(trick="sit")

    given(registered, sit).when(lambda dog: dog.add_trick("sit")).then(again)
