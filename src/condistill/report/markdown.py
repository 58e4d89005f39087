"""Text of users in Markdown: every character as itself, nothing as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>:@$^=\"'/])")
MAX_CHARACTERS = 400


def plain_text(value: object) -> str:
    """`value` as one line of Markdown that shows its characters and nothing else: no markup, link or HTML.

    >>> plain_text("<b>*a*</b> | x")
    '&lt;b&gt;\\\\*a\\\\*&lt;\\\\/b&gt; \\\\| x'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    text = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 3] + "..."
    # the backslash goes before punctuation only; & and < have no escape but their entity
    escaped = _MARKUP.sub(r"\\\1", text.replace("&", "\0"))
    return escaped.replace("\0", "&amp;").replace("<", "&lt;").replace("\\>", "&gt;")


def fenced(text: str, language: str = "") -> str:
    """A code block that ends where `text` ends, whatever is in it.

    >>> print(fenced("a"))
    ```
    a
    ```
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(rows: Sequence[Sequence[object]]) -> str:
    """A table whose first row is its header; every cell is plain text.

    >>> print(table([["a", "b"], [1, 2]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = ["| " + " | ".join(plain_text(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
