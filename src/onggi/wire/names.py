"""Names of containers: what is one, and new ones such as `calm_hamada`.

The surnames are potters', after the jar that gave Onggi its name. Callers: the engine. No I/O.
"""

# ruff: noqa: SIM905 - many words read better as words than as a list of strings
from __future__ import annotations

import random
import re

from onggi.errors import Invalid

NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
"""A name, with or without the slash that inspect shows."""

_ADJECTIVES = """
airy amber ample arched ashen autumn blithe bold bright brisk calm candid cheery civil clear copper coral cosy crisp
dapper deft dewy eager earnest even fabled fair fiery fleet fluent frosty gentle glazed glossy golden hale hardy hazel
honest humble ivory jaunty jolly keen kind lively lucid lunar mellow merry mild misty modest mossy neat nimble noble
opal patient placid plucky poised polite proud quick quiet rapid ready robust rosy rugged rustic sage serene sharp
silent silver sincere sleek smooth snug solar spry steady sturdy subtle sunny supple swift tidy tranquil trim true
upbeat valiant velvet vivid warm whole wily windy winsome witty worthy young zesty
""".split()
_SURNAMES = """
adams aylieff bang bawden bell blackman britton brown cardew carnegy caruso casson clark connell constantidinis coper
cushing davis duckworth euphronios exekias fiennes finch frimkess fujiwara funakoshi gilbert grotell hamada hasegawa
henderson hirosawa hughto ichino ito joulia kakiemon kaneshige karnes kawai keeler kenzan kim kintner kitaoji koie
lee leach littlefield lucero magdalene maltby martinez mason matsui meyer mingei nampeyo ninsei odundo ohr otagaki
palissy park pearson peterson pleydell prieto quick reitz rie rhodes robineau saenger shimaoka shoji soldner spode
suzuki takaezu tagami tokuda turner ushida vivika voulkos wedgwood whieldon wildenhain woodman yanagi yoon
""".split()


def check(name: str) -> str:
    """The name without its slash; `Invalid` if it is none."""
    if NAME.fullmatch(name) is None:
        raise Invalid("name", name, "not a name", code="container.name-invalid", facts={"name": name})
    return name.removeprefix("/")


def random_name(*, attempt: int = 0) -> str:
    """A new name; from the first retry on with a digit behind, for an engine with very many containers."""
    name = f"{random.choice(_ADJECTIVES)}_{random.choice(_SURNAMES)}"
    return f"{name}{random.randrange(10)}" if attempt else name
