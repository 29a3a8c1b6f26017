"""What `onggi-oci --help` says, from the table of the commands. Pure. Caller: `main`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def of_all(
    commands: Mapping[str, tuple[str, str, str, Mapping[str, str], Mapping[str, str]]], flags: Mapping[str, str]
) -> str:
    """The overview: what may come before the command, and the commands."""
    width = max(len(name) for name in commands) + 3
    return (
        "NAME:\n   onggi-oci - Open Container Initiative runtime\n\n"
        "USAGE:\n   onggi-oci [global options] command [command options] [arguments...]\n\n"
        "COMMANDS:\n"
        + "".join(f"   {name:{width}}{entry[1]}\n" for name, entry in commands.items())
        + "\nGLOBAL OPTIONS:\n"
        + "".join(f"   {_flag(name, value)}\n" for name, value in flags.items())
    )


def of_command(name: str, entry: tuple[str, str, str, Mapping[str, str], Mapping[str, str]]) -> str:
    """One command: what it does, its words and flags."""
    _, what, words, flags, short = entry
    names = {long: letter for letter, long in short.items()}
    lines = [
        f"   {_flag(flag, value)}" + (f", -{names[flag]}" if flag in names else "") for flag, value in flags.items()
    ]
    options = " [command options]" if flags else ""
    return (
        f"NAME:\n   onggi-oci {name} - {what}\n\nUSAGE:\n   onggi-oci {name}{options} {words}".rstrip()
        + "\n"
        + ("\nOPTIONS:\n" + "\n".join(lines) + "\n" if lines else "")
    )


def _flag(name: str, value: str) -> str:
    return f"--{name} {value}" if value else f"--{name}"
