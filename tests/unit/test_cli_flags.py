"""The command line is taken apart as Docker's users write it."""

from __future__ import annotations

import pytest

from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag, parse, usage_text

RUN = Command(
    "run [OPTIONS] IMAGE [COMMAND]",
    "Run it.",
    (
        Flag("interactive", bool, "stdin", short="i"),
        Flag("tty", bool, "terminal", short="t"),
        Flag("rm", bool, "remove"),
        Flag("sig-proxy", bool, "signals", default=True),
        Flag("name", str, "name"),
        Flag("env", list, "variable", short="e"),
        Flag("time", int, "seconds", short="s", default=10),
    ),
    arguments=(1, None),
    interspersed=False,
)


def test_short_flags_are_written_together() -> None:
    """`-it` is `-i -t`."""
    parsed = parse(RUN, ["-it", "image"])
    assert (parsed["interactive"], parsed["tty"]) == (True, True)


@pytest.mark.parametrize("words", [["-e", "A=1"], ["-eA=1"], ["-e=A=1"], ["--env", "A=1"], ["--env=A=1"], ["-ieA=1"]])
def test_a_value_is_written_in_every_usual_way(words: list[str]) -> None:
    """A value stands behind a space, an equals sign, or directly behind its letter."""
    assert parse(RUN, [*words, "image"])["env"] == ["A=1"]


@pytest.mark.parametrize(
    ("word", "value"), [("--rm", True), ("--rm=true", True), ("--rm=0", False), ("--rm=false", False)]
)
def test_a_switch_can_be_given_a_value(word: str, value: bool) -> None:
    """`--rm=false` is a no."""
    assert parse(RUN, [word, "image"])["rm"] is value


def test_what_follows_the_image_is_the_containers() -> None:
    """Flags behind the first argument belong to the container's command."""
    parsed = parse(RUN, ["--rm", "image", "ls", "--rm", "-t"])
    assert parsed.arguments == ["image", "ls", "--rm", "-t"]
    assert parsed["tty"] is False


def test_a_double_dash_ends_the_flags() -> None:
    """Behind `--` everything is an argument."""
    assert parse(RUN, ["--", "--rm"]).arguments == ["--rm"]


def test_a_verb_with_arguments_first_takes_flags_behind_them() -> None:
    """`onggi logs NAME -f` works as `onggi logs -f NAME`."""
    logs = Command("logs NAME", "", (Flag("follow", bool, "", short="f"),), arguments=(1, 1))
    assert parse(logs, ["name", "-f"])["follow"] is True


def test_defaults_hold_until_a_flag_is_given() -> None:
    """What was not given has its default, and is not in `given`."""
    parsed = parse(RUN, ["-s", "3", "image"])
    assert (parsed["sig-proxy"], parsed["time"], parsed.given) == (True, 3, {"time"})


@pytest.mark.parametrize(
    "words",
    [["--nosuch"], ["-x"], ["--name"], ["-e"], ["--rm=maybe"], ["--time", "soon"], ["-ix"], ["--=x"]],
)
def test_a_wrong_flag_is_an_error_of_125(words: list[str]) -> None:
    """A command line that does not parse ends with 125 and points to the help."""
    with pytest.raises(CommandFailed) as caught:
        parse(RUN, words)
    assert caught.value.status == 125
    assert "run --help" in caught.value.hint


@pytest.mark.parametrize(("arguments", "words"), [((1, None), []), ((1, 1), ["a", "b"]), ((0, 0), ["a"])])
def test_a_wrong_number_of_arguments_is_an_error_of_1(arguments: tuple[int, int | None], words: list[str]) -> None:
    """Too few or too many arguments end with 1 and the usage."""
    with pytest.raises(CommandFailed) as caught:
        parse(Command("rm NAME", "", arguments=arguments), words)
    assert (caught.value.status, caught.value.hint) == (1, "usage: onggi rm NAME")


def test_help_is_asked_for_without_arguments() -> None:
    """`--help` needs no image."""
    assert parse(RUN, ["--help"]).help is True


def test_help_names_every_flag() -> None:
    """The page shows each flag with its letter."""
    page = usage_text(RUN)
    assert "-e, --env list" in page
    assert "    --rm" in page
