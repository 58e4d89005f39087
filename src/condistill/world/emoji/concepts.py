"""The language of the emoji world: its concepts, its colours, and the captions made of them.

Concepts carry the names of the Unicode emoji list. All animals (its group "Animals & Nature", animal subgroups) are
the unseen group, and nothing that looks like an animal is among the seen ones.

>>> prompts("unseen")[3]
'a panda on a green background'
>>> parse("an owl on a pink background") == (CONCEPT_INDEX["owl"], COLOUR_INDEX["pink"])
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from condistill.errors import UserError, unknown_name

GROUPS = ("seen", "unseen", "all")


@dataclass(frozen=True)
class Concept:
    """A thing that the teacher can draw.

    `name` and `group` are those of Unicode's emoji-test.txt; `seen` says whether D may hold images of it.
    """

    name: str
    group: str
    seen: bool


@dataclass(frozen=True)
class Colour:
    """A background: its name and its (red, green, blue), 0 to 255."""

    name: str
    rgb: tuple[int, int, int]


_ANIMALS = (
    "panda|fox|lion|bear|koala|frog|dog face|cat face|tiger face|cow face|pig face|mouse face|rabbit face|monkey face|"
    "penguin|owl|chicken|parrot|turtle|spouting whale|octopus|butterfly|lady beetle|elephant"
)
_SEEN = {
    "Animals & Nature": "sunflower|tulip|cactus|mushroom|maple leaf|palm tree",
    "Food & Drink": (
        "red apple|strawberry|pineapple|banana|watermelon|broccoli|bell pepper|pizza|hamburger|doughnut|"
        "birthday cake|pie|cocktail glass"
    ),
    "Travel & Places": "house with garden|police car|locomotive|sailboat|rocket|anchor|volcano|alarm clock",
    "Activities": "Christmas tree|soccer ball|basketball|trophy",
    "Objects": "graduation cap|crown|gem stone|drum|guitar|microphone|movie camera|light bulb|couch and lamp",
}

CONCEPTS: tuple[Concept, ...] = (
    *(Concept(name, "Animals & Nature", False) for name in _ANIMALS.split("|")),
    *(Concept(name, group, True) for group, names in _SEEN.items() for name in names.split("|")),
)

COLOURS: tuple[Colour, ...] = (
    Colour("red", (196, 32, 38)),
    Colour("orange", (240, 130, 30)),
    Colour("yellow", (250, 215, 50)),
    Colour("green", (46, 145, 60)),
    Colour("blue", (30, 95, 220)),
    Colour("purple", (125, 45, 175)),
    Colour("pink", (250, 150, 195)),
    Colour("white", (248, 248, 248)),
)

# Other words for a concept, understood in prompts; captions are made of the names alone.
ALIASES = {
    **{name: f"{name} face" for name in ("dog", "cat", "tiger", "cow", "pig", "mouse", "rabbit", "monkey")},
    **{"whale": "spouting whale", "ladybug": "lady beetle", "apple": "red apple", "cake": "birthday cake"},
    **{"house": "house with garden", "diamond": "gem stone", "couch": "couch and lamp", "train": "locomotive"},
}

CONCEPT_INDEX = {concept.name: index for index, concept in enumerate(CONCEPTS)}
COLOUR_INDEX = {colour.name: index for index, colour in enumerate(COLOURS)}


def article(name: str) -> str:
    """The name with its indefinite article.

    >>> article("owl"), article("panda")
    ('an owl', 'a panda')
    """
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def caption(concept: int, colour: int) -> str:
    """The sentence for one concept on one colour.

    >>> caption(0, 3)
    'a panda on a green background'
    """
    return f"{article(CONCEPTS[concept].name)} on {article(COLOURS[colour].name)} background"


def is_unseen(concept: int) -> bool:
    """Whether this concept belongs to the unseen group, of which D holds no image."""
    return not CONCEPTS[concept].seen


def prompts(group: str = "all") -> list[str]:
    """All captions of a group, concept by concept, colour by colour.

    Raises:
        UserError: a group that is not "seen", "unseen" or "all".
    """
    if group not in GROUPS:
        raise unknown_name("group of the emoji world", group, GROUPS)
    chosen = [index for index, concept in enumerate(CONCEPTS) if group == "all" or concept.seen == (group == "seen")]
    return [caption(concept, colour) for concept in chosen for colour in range(len(COLOURS))]


def _pattern(names: Mapping[str, int]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(r"\b(" + "|".join(re.escape(name) for name in longest_first) + r")\b", re.IGNORECASE)


_BY_WORD = {name.lower(): index for name, index in CONCEPT_INDEX.items()}
_BY_WORD |= {word: CONCEPT_INDEX[name] for word, name in ALIASES.items()}
_CONCEPT_PATTERN, _COLOUR_PATTERN = _pattern(_BY_WORD), _pattern(COLOUR_INDEX)


def parse(prompt: str) -> tuple[int, int]:
    """(concept index, colour index) that a prompt asks for; the first of each that it names.

    Raises:
        UserError: no concept or no colour of this world in the prompt.
    """
    concept = _CONCEPT_PATTERN.search(prompt)
    # "red apple" and "orange" the colour: what names the concept does not name the background
    rest = prompt if concept is None else prompt[: concept.start()] + " " + prompt[concept.end() :]
    colour = _COLOUR_PATTERN.search(rest)
    if concept is None or colour is None:
        missing = "concept" if concept is None else "colour"
        raise UserError(f"no {missing} of the emoji world in {prompt!r}; wanted a sentence like {caption(0, 3)!r}")
    return _BY_WORD[concept.group(1).lower()], COLOUR_INDEX[colour.group(1).lower()]


def source(spec: Mapping[str, Any]) -> list[str]:
    """The keys of the corpus spec {"world": "emoji", "group": "seen" | "unseen" | "all"}.

    Raises:
        UserError: an unknown group or a key that this source does not read.
    """
    for name in spec:
        if name not in ("world", "group"):
            raise unknown_name("key of the emoji source", name, ("world", "group"))
    return prompts(str(spec.get("group", "all")))
