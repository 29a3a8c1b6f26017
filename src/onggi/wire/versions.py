"""The versions that Onggi answers with. No I/O, no imports: the CLI reads them too."""

ONGGI = "0.1.0"
"""Our own version."""
DOCKER = "28.5.2"
"""The Docker release whose API we speak: clients compare it with what they need."""
API = "1.51"
"""The newest version of the Engine API that we answer."""
API_MINIMUM = "1.24"
"""The oldest."""


def parse(version: str) -> tuple[int, ...]:
    """A version of the API as numbers, for comparing; a part that is no number is 0."""
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))
