from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

from django_esdb import get_application
from django_esdb.testing import MemoryEventStore, embedded_event_store
from example_project.training_school import writes
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.at_once import at_once
from tests.support.catalogs import texts_left_in_english
from tests.support.projects import ROOT

DOGS = reverse("training_school:dogs")
REGISTER = reverse("training_school:register")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is written be there, also on a busy machine."""
    monkeypatch.setattr(writes, "WAIT_SECONDS", 60.0)


def page_of(name: str) -> str:
    return reverse("training_school:dog", args=[DogAggregate.create_id(name)])


@pytest.mark.any_database
@pytest.mark.django_db
def test_an_empty_school_says_so(client: Client):
    response = client.get(DOGS)

    assert response.status_code == 200
    assert b"No dog is registered yet." in response.content


@pytest.mark.any_database
@pytest.mark.parametrize("language", ["de", "fr"])
def test_no_text_of_a_page_is_left_in_english(
    client: Client, school: None, language: str
) -> None:
    file = ROOT / "example_project/locale" / language / "LC_MESSAGES" / "django.po"
    asked = {"headers": {"accept-language": language}}

    for response in (
        client.get(DOGS, **asked),
        client.post(REGISTER, {"name": ""}, **asked),
        client.post(REGISTER, {"name": "Rex"}, follow=True, **asked),
        client.get(DOGS, **asked),
    ):
        assert f'lang="{language}"' in response.text
        assert not texts_left_in_english(response.text, file)
    assert texts_left_in_english(client.get(DOGS).text, file)


def test_a_registered_dog_shows_at_once(client: Client, school: None):
    response = client.post(REGISTER, {"name": "Rex"}, follow=True)

    assert response.redirect_chain == [(page_of("Rex"), 302)]
    assert "Rex is registered." in response.text
    assert "No tricks yet." in response.text
    assert get_application(TrainingSchool).get_dog_details("Rex")["name"] == "Rex"


def test_an_added_trick_shows_at_once(client: Client, school: None):
    client.post(REGISTER, {"name": "Rex"})

    for trick in ("roll over", "fetch", "fetch"):
        response = client.post(page_of("Rex"), {"trick": trick}, follow=True)
        assert f"Rex has learned “{trick}”." in response.text

    assert response.redirect_chain == [(page_of("Rex"), 302)]
    assert Dog.objects.get().tricks == ["roll over", "fetch", "fetch"]
    listed = client.get(DOGS)
    assert '<dd id="dogs">1</dd>' in listed.text
    assert '<dd id="tricks">3</dd>' in listed.text
    assert "3 tricks" in listed.text


@pytest.mark.parametrize(
    "name",
    [
        "O'Malley",
        pytest.param("a/b/../c", marks=pytest.mark.any_database),
        pytest.param("?x=1&y=2#z", marks=pytest.mark.any_database),
        "100%",
        "犬の名前",
        "👩‍👩‍👧",
        pytest.param("..", marks=pytest.mark.any_database),
        "x" * 255,
    ],
)
def test_a_dog_of_any_name_has_a_page(client: Client, school: None, name: str):
    response = client.post(REGISTER, {"name": name}, follow=True)
    assert response.status_code == 200
    assert response.context["dog"].name == name

    response = client.post(page_of(name), {"trick": name}, follow=True)
    assert response.context["dog"].tricks == [name]


@pytest.mark.any_database
def test_what_was_entered_is_escaped(client: Client, school: None):
    attack = "<script>alert('x')</script>"
    pages = [
        client.post(REGISTER, {"name": attack}, follow=True),
        client.post(page_of(attack), {"trick": attack}, follow=True),
        client.post(REGISTER, {"name": attack}),
        client.post(page_of(attack), {"trick": f"{attack}\x01"}),
        client.get(DOGS),
    ]

    for page in pages:
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "&lt;script" in page.text


@pytest.mark.any_database
def test_a_dog_that_is_registered_already_is_a_form_error(client: Client, school: None):
    client.post(REGISTER, {"name": "Rex"})

    response = client.post(REGISTER, {"name": "Rex"})

    assert response.status_code == 200
    assert response.context["form"].errors == {
        "name": ["A dog called Rex is already registered."]
    }
    assert Dog.objects.count() == 1


def test_of_concurrent_registrations_one_succeeds(school: None):
    def register(number: int) -> int:
        return Client().post(REGISTER, {"name": "Rex"}).status_code

    assert sorted(at_once(register, 4)) == [200, 200, 200, 302]
    assert Dog.objects.count() == 1


def test_concurrent_tricks_are_all_learned(client: Client, school: None):
    client.post(REGISTER, {"name": "Rex"})

    def learn(number: int) -> int:
        trick = {"trick": f"trick {number}"}
        return Client().post(page_of("Rex"), trick).status_code

    assert at_once(learn, 3) == [302] * 3
    assert sorted(Dog.objects.get().tricks) == ["trick 0", "trick 1", "trick 2"]


@pytest.mark.any_database
@pytest.mark.parametrize("value", ["", "x" * 256, "a\x07b"])
def test_wrong_input_is_shown_with_its_error(client: Client, school: None, value: str):
    client.post(REGISTER, {"name": "Rex"})

    for path, field in ((REGISTER, "name"), (page_of("Rex"), "trick")):
        response = client.post(path, {field: value})
        assert response.status_code == 200
        (error,) = response.context["form"].errors[field]
        assert "<title>Error: " in response.text
        assert error.split("'")[0] in response.text
        assert 'aria-invalid="true"' in response.text
    assert SchoolCounts.objects.get().tricks == 0


@pytest.mark.any_database
@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/dogs/Rex/", "/nowhere/"])
def test_an_unknown_page_is_not_found(client: Client, path: str):
    response = client.get(path)

    assert response.status_code == 404
    assert "There is no such dog or page here." in response.text


@pytest.mark.django_db
def test_a_dog_that_does_not_exist_is_not_found(client: Client):
    path = reverse("training_school:dog", args=[uuid4()])

    assert client.get(path).status_code == 404
    assert client.post(path, {"trick": "fetch"}).status_code == 404


def test_a_dog_that_only_the_read_model_knows_is_not_found(
    client: Client, memory_event_store: MemoryEventStore, transactional_db: None
):
    Dog.objects.create(id=DogAggregate.create_id("Ghost"), name="Ghost")

    assert client.post(page_of("Ghost"), {"trick": "haunt"}).status_code == 404


@pytest.mark.any_database
def test_without_the_projection_a_write_is_kept_and_shows_later(
    client: Client,
    memory_event_store: MemoryEventStore,
    running_projections: Callable[..., AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(writes, "WAIT_SECONDS", 0.05)

    response = client.post(REGISTER, {"name": "Rex"}, follow=True)
    assert response.redirect_chain == [(DOGS, 302)]
    assert "registration is recorded. It will show here soon" in response.text
    assert not Dog.objects.exists()

    monkeypatch.undo()
    with running_projections(TrainingSchoolProjection):
        client.post(REGISTER, {"name": "Bella"})
    assert [dog.name for dog in Dog.objects.all()] == ["Bella", "Rex"]

    monkeypatch.setattr(writes, "WAIT_SECONDS", 0.05)
    response = client.post(page_of("Rex"), {"trick": "fetch"}, follow=True)
    assert response.redirect_chain == [(page_of("Rex"), 302)]
    assert "The trick “fetch” is recorded. It will show here soon" in response.text
    assert get_application(TrainingSchool).get_dog_details("Rex")["tricks"] == (
        "fetch",
    )


@pytest.mark.any_database
@pytest.mark.parametrize(
    "uri",
    [
        "esdb://127.0.0.1:{port}?Tls=false",
        "esdb://admin:hush-hush@127.0.0.1:{port}",
        "esdb://admin:hush-hush@127.0.0.1:{port}?Wrong=field",
        "",
    ],
)
def test_an_event_store_out_of_reach_is_said_plainly(
    client: Client, transactional_db: None, settings, uri: str
):
    with embedded_event_store() as server:
        port = server.port
    settings.ESDB_URI = uri.format(port=port)
    settings.ESDB_WEB_DEADLINE = 1
    dog = Dog.objects.create(id=DogAggregate.create_id("Rex"), name="Rex")

    for path, data in (
        (REGISTER, {"name": "Bella"}),
        (page_of("Rex"), {"trick": "fetch"}),
    ):
        response = client.post(path, data)
        assert response.status_code == 503
        assert "The event store cannot be reached" in response.text
        assert "Traceback" not in response.text
        assert "hush-hush" not in response.text
        assert "127.0.0.1" not in response.text
    # What is recorded can still be read.
    assert client.get(DOGS).status_code == 200
    assert client.get(page_of(dog.name)).status_code == 200


@pytest.mark.any_database
@pytest.mark.django_db
def test_writes_need_a_token():
    strict = Client(enforce_csrf_checks=True)

    assert strict.post(REGISTER, {"name": "Rex"}).status_code == 403


@pytest.mark.django_db
def test_many_dogs_are_shown_page_by_page(client: Client):
    Dog.objects.bulk_create(
        Dog(id=UUID(int=n), name=f"Dog {n:03}") for n in range(1, 101)
    )

    names = []
    for number in (1, 2, 3):
        page = client.get(DOGS, {"page": number}).context["page"]
        names += [dog.name for dog in page]

    assert names == [f"Dog {n:03}" for n in range(1, 101)]
    # A page that is not there, from an old link or a mistyped address.
    assert client.get(DOGS, {"page": "no"}).status_code == 200
    assert client.get(DOGS, {"page": "99"}).context["page"].number == 3


@pytest.mark.any_database
@pytest.mark.django_db
def test_every_page_links_to_the_others(client: Client):
    for path in (DOGS, REGISTER, "/nowhere/"):
        text = client.get(path).text
        for link in (DOGS, REGISTER, reverse("admin:index")):
            assert f'href="{link}"' in text


@pytest.mark.any_database
@pytest.mark.django_db
def test_a_stored_name_cannot_reorder_what_stands_next_to_it(client: Client):
    dog = Dog.objects.create(id=uuid4(), name="Rex\u202e", tricks=["\u2067sit"])

    listed = client.get(DOGS).text
    page = client.get(reverse("training_school:dog", args=[dog.id])).text

    name = "\u2068Rex\u202e\u202c\u2069"
    assert f"<bdi>{name}</bdi>" in listed
    assert f"<title>{name} · " in page
    assert f"<h1><bdi>{name}</bdi></h1>" in page
    assert "<bdi>\u2068\u2067sit\u2069\u2069</bdi>" in page
    for text in (listed, page):
        assert text.count("Rex") == text.count(name)
