from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import cli
from eventsourcing_eventstoredb.server.services import messages

PAGE = (Path(__file__).parents[3] / "docs" / "server.md").read_text(encoding="utf-8")

CALLS = [
    f"{service.name}/{method.name}"
    for module in (messages.streams, messages.persistent, messages.gossip)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_documented(call: str):
    assert re.search(rf"^\| `{call}` \| (full|partly|no)", PAGE, re.MULTILINE)


def test_every_option_is_documented():
    parser = argparse.ArgumentParser(add_help=False)
    cli.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings}

    assert {option for option in options if option not in PAGE} == set()
