from __future__ import annotations

import pytest

from django_esdb.testing import EventFactory, assert_projection_complete, given
from example_project.training_school import domain
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection

fido, rex = EventFactory(domain.Dog), EventFactory(domain.Dog)
fido_registered = fido.Registered(name="Fido")
rex_registered = rex.Registered(name="Rex")


def test_each_event_has_a_handler() -> None:
    assert_projection_complete(TrainingSchoolProjection, domain.Dog)


@pytest.mark.django_db
def test_dogs_and_their_tricks_are_rows_and_counts() -> None:
    given(fido_registered, rex_registered).when(
        fido.TrickAdded(trick="sit"), fido.TrickAdded(trick="bow")
    ).then(
        Dog(id=fido.id, name="Fido", tricks=["sit", "bow"]),
        Dog(id=rex.id, name="Rex", tricks=[]),
        SchoolCounts(dogs=2, tricks=2),
    )


@pytest.mark.django_db
def test_text_that_no_database_stores_is_replaced() -> None:
    given(EventFactory(domain.Dog).Registered(name="Re\x00x")).when().then(
        {Dog: [{"name": "Re\ufffdx"}]}
    )


@pytest.mark.django_db
def test_a_trick_of_a_dog_that_is_not_there_is_an_error() -> None:
    given(projection=TrainingSchoolProjection).when(
        fido.TrickAdded(trick="sit")
    ).then_raises(Dog.DoesNotExist)
