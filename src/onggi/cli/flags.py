"""The command line: flags as Docker's users write them.

`-it`, `-p80:80`, `--name=x`, `--rm=false`, and a command that stops at its first argument, so that what follows the
image belongs to the container. `argparse` and click know neither `--rm=false` nor how to start in a millisecond
(docs/decisions/0001-own-flag-parser.md). Pure: no I/O.
Callers: `main` and the files of `commands`. Read next: `main`.
"""

from __future__ import annotations

from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
FLAG_ERROR = 125
"""The exit status of a command line that does not parse."""


class Flag:
    """One flag. `kind` is what its value becomes: bool (takes none), str, int, or list (may be repeated)."""

    __slots__ = ("default", "help", "kind", "long", "meta", "short")

    def __init__(
        self, long: str, kind: type, help: str, *, short: str = "", meta: str = "", default: Any = None
    ) -> None:
        self.long = long
        self.kind = kind
        self.help = help
        self.short = short
        self.meta = meta or ("" if kind is bool else "string" if kind is str else kind.__name__)
        self.default = default

    def initial(self) -> Any:
        """The value of a flag that was not given."""
        return self.default if self.default is not None else self.kind()


class Command:
    """What one verb takes. `arguments` is (least, most); most None is no limit."""

    __slots__ = ("arguments", "epilog", "flags", "interspersed", "summary", "usage")

    def __init__(
        self,
        usage: str,
        summary: str,
        flags: tuple[Flag, ...] = (),
        *,
        arguments: tuple[int, int | None] = (0, 0),
        interspersed: bool = True,
        epilog: str = "",
    ) -> None:
        self.usage = usage
        self.summary = summary
        self.flags = flags
        self.arguments = arguments
        self.interspersed = interspersed
        self.epilog = epilog

    @property
    def name(self) -> str:
        """The verb: the first word of the usage."""
        return self.usage.partition(" ")[0]


class Parsed:
    """A command line taken apart: options by their long name, which of them were given, and the arguments."""

    __slots__ = ("arguments", "given", "help", "options")

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.arguments: list[str] = []
        self.given: set[str] = set()
        self.help = False

    def __getitem__(self, name: str) -> Any:
        return self.options[name]


def parse(command: Command, words: Sequence[str]) -> Parsed:
    """Take `words` apart as `command` says; CommandFailed with status 125 when they do not fit."""
    parsed = Parsed({flag.long: flag.initial() for flag in command.flags})
    long = {flag.long: flag for flag in command.flags}
    short = {flag.short: flag for flag in command.flags if flag.short}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.arguments += rest
            break
        if word.startswith("--"):
            _long_flag(command, parsed, long, word, rest)
        elif word.startswith("-") and word != "-":
            _short_flags(command, parsed, short, word, rest)
        elif command.interspersed:
            parsed.arguments.append(word)
        else:
            parsed.arguments += [word, *rest]
            break
    if not parsed.help:
        _count(command, parsed.arguments)
    return parsed


def _long_flag(command: Command, parsed: Parsed, known: dict[str, Flag], word: str, rest: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    flag = known.get(name)
    if flag is None:
        if name == "help":
            parsed.help = True
            return
        raise _bad(command, f"unknown flag: --{name}")
    if flag.kind is bool:
        _store(command, parsed, flag, value if equals else "true")
    elif equals:
        _store(command, parsed, flag, value)
    elif rest:
        _store(command, parsed, flag, rest.pop(0))
    else:
        raise _bad(command, f"flag needs an argument: --{name}")


def _short_flags(command: Command, parsed: Parsed, known: dict[str, Flag], word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = known.get(letter)
        if flag is None:
            if letter == "h" and letters == "":
                parsed.help = True
                return
            raise _bad(command, f"unknown shorthand flag: `{letter}` in {word}")
        if flag.kind is bool:
            value = "true"
            if letters.startswith("="):
                value, letters = letters[1:], ""
            _store(command, parsed, flag, value)
            continue
        if not letters and not rest:
            raise _bad(command, f"flag needs an argument: -{letter}")
        _store(command, parsed, flag, letters.removeprefix("=") if letters else rest.pop(0))
        return


def _store(command: Command, parsed: Parsed, flag: Flag, text: str) -> None:
    value: Any = text
    if flag.kind is bool:
        if text not in _TRUE and text not in _FALSE:
            raise _bad(command, f"invalid value `{text}` for --{flag.long}: neither true nor false")
        value = text in _TRUE
    elif flag.kind is int:
        try:
            value = int(text)
        except ValueError:
            raise _bad(command, f"invalid value `{text}` for --{flag.long}: not a whole number") from None
    if flag.kind is list:
        # A list flag replaces its default at the first use and grows from then on.
        earlier = parsed.options[flag.long] if flag.long in parsed.given else []
        value = [*earlier, text]
    parsed.given.add(flag.long)
    parsed.options[flag.long] = value


def _count(command: Command, arguments: list[str]) -> None:
    least, most = command.arguments
    if least <= len(arguments) and (most is None or len(arguments) <= most):
        return
    exactly = "exactly" if least == most else "at least" if len(arguments) < least else "at most"
    number = least if len(arguments) < least else most
    noun = "argument" if number == 1 else "arguments"
    wanted = "no arguments" if most == 0 else f"{exactly} {number} {noun}"
    raise CommandFailed(
        f"onggi {command.name} takes {wanted}, not {len(arguments)}", hint=f"usage: onggi {command.usage}", status=1
    )


def _bad(command: Command, what: str) -> CommandFailed:
    return CommandFailed(what, hint=f"see `onggi {command.name} --help`", status=FLAG_ERROR)


def usage_text(command: Command) -> str:
    """The page that `--help` prints."""
    lines = [f"Usage:  onggi {command.usage}", "", command.summary]
    if command.flags:
        names = [_heading(flag) for flag in command.flags]
        width = max(len(name) for name in names)
        lines += ["", "Options:"]
        lines += [f"  {name:<{width}}   {flag.help}" for name, flag in zip(names, command.flags, strict=True)]
    if command.epilog:
        lines += ["", command.epilog]
    return "\n".join(lines)


def _heading(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"{short}--{flag.long} {flag.meta}".rstrip()
