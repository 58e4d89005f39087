"""Command lines that pages and help texts show, told apart and parsed without carrying them out."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer

from condistill.cli.app import build


def parse(line: str) -> str:
    """The verb of a line `condistill ...`, after the real parser has accepted all of its words; "" where there is none.

    Raises:
        TyperException: an unknown verb or option, or a missing argument.
    """
    words = shlex.split(line)[1:]
    group: Any = typer.main.get_command(build())
    while words and words[0].startswith("--"):  # --threads N, before the verb
        words = words[2:]
    if not words:
        return ""
    group.commands[words[0]].make_context(words[0], words[1:])
    return words[0]


def commands_in(page: str) -> list[str]:
    """The lines `condistill ...` of a page's code blocks, fenced or indented; those that go on after a backslash or
    inside quotes joined."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    blocks += re.findall(
        r"(?:^ {4}.*\n)+", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    joined = "\n".join(blocks).replace("\\\n", " ")
    found = re.findall(r"^\s*(condistill (?:'[^']*'|[^'\n#])*)", joined, re.MULTILINE)
    return [line.partition(" >")[0].strip() for line in found]
