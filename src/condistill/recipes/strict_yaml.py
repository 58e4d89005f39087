"""YAML as people expect it: no objects, no duplicate keys, no surprises with `no`, `1e-5` or dates.

The scalars are those of YAML 1.2: `no` is a word, `5e-5` a number, `010` ten and `2026-01-01` a word. Anchors and
aliases are refused: a recipe says each thing where it holds.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from condistill.errors import UserError

MAX_BYTES = 1024 * 1024  # a recipe is a page of text; more is a wrong file (a prompt list, weights)


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars, without duplicate keys, anchors and merge keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ComposerError(
                None,
                None,
                "anchors and aliases (& and *) are no part of recipes; write it out",
                event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, Hashable):
                raise ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: Any) -> int:
        return int(self.construct_scalar(node))

    def construct_undefined(self, node: Any) -> Any:
        raise ConstructorError(
            None, None, f"the tag {node.tag!r} would build an object; only plain values are read", node.start_mark
        )


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor(None, _Loader.construct_undefined)  # type: ignore[arg-type]  # None is every other tag
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", f"^(?:{_FLOAT})$", list("-+.0123456789")),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# words that YAML 1.1 or we ourselves would read as something else are quoted, so that any reader gets the same
_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()), *_Loader.yaml_implicit_resolvers.get(first, ())]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def parse(text: str, *, name: str) -> Any:
    """The plain values (mappings, lists, words, numbers, true, false, null) written in `text`.

    Args:
        name: what the text is called in messages.

    Raises:
        UserError: not YAML, or more than plain values; with line and column.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{name}{where}: {_sentence(error)}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply to be a recipe") from None
    except ValueError as error:  # an integer of thousands of digits
        raise UserError(f"{name}: {error}") from None


def _sentence(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.problem, error.context) if part]
    return " ".join(" ".join(parts).split()) or "not readable as YAML"


def read(path: str | Path) -> Any:
    """The plain values in a YAML file.

    Raises:
        UserError: no such file, a folder, too large, not UTF-8 (with the position), not strict YAML.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"no such recipe file: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a recipe (a YAML file) is wanted") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 1024} KiB and so no recipe; give the YAML file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start}); save it as UTF-8"
        ) from None
    return parse(text, name=str(path))


def write(values: Any) -> str:
    """`values` as YAML text that `parse` reads back equal."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
