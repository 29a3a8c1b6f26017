"""The words of a command line, sorted into options and the rest. Pure. Callers: `main`. Read next: `create`."""

from __future__ import annotations

from onggi.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Options:
    """What was given: each flag with its values in order; a flag without a value has empty ones."""

    __slots__ = ("_given",)

    def __init__(self, given: dict[str, list[str]]) -> None:
        self._given = given

    def has(self, name: str) -> bool:
        """Whether the flag was given, and not as `--flag=false`."""
        return name in self._given and self._given[name][-1] != "false"

    def get(self, name: str, default: str = "") -> str:
        """The flag's last value."""
        return self._given[name][-1] if name in self._given else default

    def every(self, name: str) -> list[str]:
        """All values of a flag that may be repeated."""
        return self._given.get(name, [])

    def number(self, name: str, default: int = 0) -> int:
        """The flag's last value as a whole number; Invalid names the flag."""
        if name not in self._given:
            return default
        try:
            return int(self._given[name][-1])
        except ValueError:
            raise Invalid("read", f"--{name}", f"{self._given[name][-1]!r} is no whole number") from None


def log_file(options: Options) -> str:
    """The file of `--log`, plainly or in crun's form `file:PATH`; empty for none."""
    return options.get("log").removeprefix("file:")


def read_words(
    words: list[str], flags: Mapping[str, str], short: Mapping[str, str], command: str, *, anywhere: bool
) -> tuple[Options, list[str]]:
    """Flags, and the words after them; `anywhere`: between them, too. Unsupported names a flag that is not known.

    `flags` says what each takes, nothing for one that is only given. Both `--name VALUE` and `--name=VALUE`, one dash or
    two, as Go's programs have it.
    """
    given: dict[str, list[str]] = {}
    rest: list[str] = []
    todo = list(reversed(words))
    while todo:
        word = todo.pop()
        if word == "--":
            return Options(given), rest + todo[::-1]
        if word[:1] != "-" or word == "-":
            if not anywhere:
                return Options(given), [word, *todo[::-1]]
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = short.get(name, name)
        if name not in flags:
            raise Unsupported("read options of", command, f"flag provided but not defined: {word.partition('=')[0]}")
        if flags[name] and not equals:
            if not todo:
                raise Invalid("read options of", command, f"flag needs an argument: --{name}")
            value = todo.pop()
        given.setdefault(name, []).append(value)
    return Options(given), rest
