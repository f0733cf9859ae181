"""What the code has to say is in docs/, and docs/ says nothing that is not so."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import get_commands, load_command_class
from django.dispatch import Signal
from markdown_it import MarkdownIt

from django_esdb import signals
from django_esdb.conf import KNOWN_SETTINGS, Settings
from eventsourcing_eventstoredb import EventStoreDBFactory
from tests.support.docs import reference
from tests.support.messages import Message, messages, words
from tests.support.projects import ROOT
from tests.support.root import BELONG

PAGES = sorted((ROOT / "docs").rglob("*.md"))
PACKAGES = ("django_esdb", "eventsourcing_eventstoredb")

_LINK = re.compile(r"\]\(([^)\s]+)\)")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]


def modules() -> Iterator[Path]:
    for package in (*PACKAGES, "example_project"):
        yield from (ROOT / package).rglob("*.py")


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@cache
def headings() -> list[str]:
    """Return the messages that have a section."""
    return re.findall(r"^### (.*)$", page("troubleshooting"), re.MULTILINE)


@cache
def rows() -> list[str]:
    """Return the messages that have a row of a table."""
    _, *tables = page("troubleshooting").split("| message | cause | what to do |\n")
    return [
        row
        for table in tables
        for row in re.findall(r"^\| (.+?) \|", table.partition("\n\n")[0], re.MULTILINE)
    ]


@cache
def said() -> list[Message]:
    """Return what the code says to people when something is wrong."""
    return messages(ROOT, *PACKAGES, "example_project")


@cache
def literals() -> set[str]:
    """Return the texts in the code, with «…» for what is filled in."""
    texts = set()
    for module in modules():
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # What is filled in, also in texts that are translated.
                texts.add(re.sub(r"%\(\w+\)[sd]", "…", node.value))
                texts.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts.add(
                    "".join(
                        part.value if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                )
    return texts


def anchors(text: str) -> set[str]:
    """Return what links can point to, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", sorted(KNOWN_SETTINGS))
def test_each_setting_is_described(name: str) -> None:
    assert f"| `{name}` |" in page("settings")


@pytest.mark.parametrize(
    ("name", "default"),
    [
        (name, value)
        for name in sorted(KNOWN_SETTINGS)
        if type(value := getattr(Settings(), name)) in (int, float)
        and not hasattr(django_settings, name)
    ],
)
def test_the_default_of_a_setting_is_what_the_code_has(
    name: str, default: float
) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|.*", page("settings"), re.MULTILINE)

    assert f"{default:g} unless set" in row


@pytest.mark.parametrize(
    "key",
    sorted(
        value
        for name, value in vars(EventStoreDBFactory).items()
        if name.isupper() and isinstance(value, str)
    ),
)
def test_each_environment_variable_is_described(key: str) -> None:
    assert f"`{key}`" in page("settings")


def test_each_extra_is_described_once_and_no_other() -> None:
    described = re.findall(r"^\| `([\w-]+)` \|", page("installation"), re.MULTILINE)

    assert sorted(described) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", sorted(BELONG - {"CONTRIBUTING.md"}))
def test_what_lies_at_the_root_is_mentioned(name: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    others = [page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "README.md"]]
    assert any(name in each for each in (text, *others))


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_pages_that_are_made_of_the_code_say_what_it_says(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")

    assert written == reference.PAGES[name](), "«make reference» writes this page"


def test_each_signal_is_described_and_no_other() -> None:
    sent = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    table = page("projections").partition("| signal of `django_esdb.signals` |")[2]
    described = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)

    assert sorted(described) == sorted(sent)


@pytest.mark.parametrize(
    "command",
    sorted(name for name, app in get_commands().items() if app == "django_esdb"),
)
def test_each_command_is_described(command: str) -> None:
    assert any(
        re.search(rf"\b{command}\b", text.read_text(encoding="utf-8"))
        for text in [*PAGES, ROOT / "README.md"]
    )


def exit_statuses() -> Iterator[tuple[str, str, str]]:
    for name, app in get_commands().items():
        if app in ("django_esdb", "example_project.training_school"):
            command = load_command_class(app, name)
            for status, meaning in command.exit_statuses.items():
                yield f"manage.py {name}", status, meaning
    for module, started_as in {
        "eventsourcing_eventstoredb.server.cli": "eventsourcing_eventstoredb.server",
        "eventsourcing_eventstoredb.server.daemon": (
            "eventsourcing_eventstoredb.server.daemon"
        ),
        "example_project.demo.cli": "example_project",
    }.items():
        statuses = importlib.import_module(module).EXIT_STATUSES
        for status, meaning in statuses.items():
            yield f"python -m {started_as}", status, meaning


def test_each_exit_status_is_in_the_one_table_and_no_other() -> None:
    section = page("troubleshooting").partition("## Exit statuses")[2]
    table = section.partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+)` \| (.+) \| (.+) \|$", table, re.MULTILINE)

    assert sorted(rows) == sorted(exit_statuses())


def test_each_check_is_described_and_no_other() -> None:
    identifiers = {
        identifier
        for text in literals()
        for identifier in re.findall(r"^django_esdb\.[EW]\d{3}$", text)
    }
    described = re.findall(
        r"^\| `(django_esdb\.\w+)` \|", page("troubleshooting"), re.M
    )

    assert identifiers == set(described)
    assert len(described) == len(set(described))


# One test for all: each process that runs some of them would read all of the code.
def test_errors_in_troubleshooting_can_happen() -> None:
    texts = literals() | {each.text for each in said()}
    # What is in «» is a message of other software.
    own = [each for each in [*headings(), *rows()] if not each.startswith("«")]
    never = [text for text in own if not any(text in each for each in texts)]

    assert own
    assert not never, "no code says these any more: take them out"


# What is put between other texts, or before them, and says nothing by itself.
PARTS = {
    "an aggregate",
    "an application",
    "there are …",
    "The command",
    "The projection …",
    "given none",
    "it was …, and is …",
    "no model",
    "one by one",
    "ESDB_TOPIC_ALLOWLIST …",
    "….….… is …, but …",
    "async def",
    "an event",
    "failed event …",
    "; the event store's address",
    "the setting ESDB_URI",
    "the environment variable …",
    "the application's env",
    "is none",
    "is another one",
    "the file that is named",
    "not a text file",
    " and … more",
    "of version … on now",
    "event … lies",
    "events … lie",
    "other was",
    "others were",
}


def is_documented(text: str) -> bool:
    if any(heading in text for heading in headings()):
        return True
    # A row of few words is in too many texts to tell them from a new one.
    return any(
        row in text if words(row) > 2 else row.strip(" .;:…") == text.strip(" .;:…\n")
        for row in rows()
    )


def test_each_message_is_in_troubleshooting() -> None:
    missing = [
        str(each)
        for each in said()
        if each.text not in PARTS and not is_documented(each.text)
    ]

    assert not missing, (
        "describe these in docs/troubleshooting.md, with cause and remedy"
    )
    assert {each.text for each in said()} >= PARTS


SPEAKING = """
import logging
from django.utils.translation import gettext as _

logger = logging.getLogger(__name__)
_NEVER = "never said by anybody"
_CONSTANT = "this is constant"


def why(row):
    if row:
        return f"returned for {row} here"
    yield "yielded by that"


def complain(text):
    raise ValueError(text)


class OwnError(Exception):
    def __init__(self, name):
        super().__init__(f"made by {name} itself")


def act(self, count):
    \"\"\"Not said to anybody.\"\"\"
    msg = f"assigned with {count} events"
    msg += " and added later"
    logger.warning("logged with %s values", count)
    logger.info("merely for information")
    self.stderr.write(_("translated for %(name)s now") % {"name": count})
    complain("passed to another function" if count else "passed when nothing is")
    for line in why(count):
        self.stderr.write(line)
    raise RuntimeError(msg) from OSError(_CONSTANT)
"""


def test_messages_are_found_wherever_they_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "speaking.py").write_text(SPEAKING, encoding="utf-8")

    assert {each.text for each in messages(tmp_path, "package")} == {
        "this is constant",
        "returned for … here",
        "yielded by that",
        "made by … itself",
        "assigned with … events",
        " and added later",
        "logged with … values",
        "translated for … now",
        "passed to another function",
        "passed when nothing is",
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in _LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = path if not target else path.parent / target
        assert file.exists(), link
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), link


def readme_links() -> list[str]:
    """Return what the README's links and pictures point to, in order."""
    tokens = MarkdownIt().parse((ROOT / "README.md").read_text(encoding="utf-8"))
    inline = [each for token in tokens for each in token.children or ()]
    found = [each.attrs.get("href", each.attrs.get("src")) for each in inline]
    html = [each.content for each in (*tokens, *inline) if "html" in each.type]
    written = re.findall(r"""\b(?:href|src)=["']?([^"' >]+)""", "".join(html))
    return [str(link) for link in found if link is not None] + written


@pytest.mark.parametrize("link", sorted(set(readme_links())))
def test_links_of_the_readme_lead_somewhere_from_the_package_index(link: str) -> None:
    # The index shows the README with neither the files nor anchors for headings.
    home = PROJECT["urls"]["Homepage"]
    assert link.startswith("https://"), (
        f"write it as {home}/blob/main/…, and a picture as {home}/raw/main/…"
    )
    if link.startswith(home):
        leads_somewhere(link)


@pytest.mark.parametrize("link", sorted(PROJECT["urls"].values()))
def test_urls_of_the_project_lead_somewhere(link: str) -> None:
    leads_somewhere(link)


def leads_somewhere(link: str) -> None:
    """See that an address within the project's home is of a page, or of a file."""
    rest = link.removeprefix(PROJECT["urls"]["Homepage"])
    assert rest != link
    if rest in ("", "/issues", "/security/policy"):
        return
    named = re.fullmatch(r"/(?:blob|raw|tree)/main/([^#]+)(?:#(.+))?", rest)
    assert named, link
    target, anchor = ROOT / named[1], named[2]
    assert target.exists(), link
    assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_project_has_one_home() -> None:
    home = PROJECT["urls"]["Homepage"]
    name = PROJECT["name"]
    for path in [*ROOT.glob("*.md"), *PAGES, *(ROOT / ".github").rglob("*.*")]:
        text = path.read_text(encoding="utf-8")
        for address in re.findall(rf"https://[^\s)>]+/{name}\b[^\s)>]*", text):
            assert address.startswith(home), f"{path.name}: {address}"


def test_the_index_leads_to_each_page() -> None:
    named = set(_LINK.findall(page("index")))
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES}

    assert pages - {"index.md"} <= named
