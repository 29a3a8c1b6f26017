"""Run a function in a forked child and bring its result back: for what changes the calling process for good."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any


def in_child(function: Callable[[], Any]) -> Any:
    """The function's JSON-able result; an AssertionError with the child's traceback if it raised or was killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = json.dumps({"result": function()})
        except BaseException:  # noqa: BLE001  the child must never return into pytest
            answer = json.dumps({"failure": traceback.format_exc()})
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    _, status = os.waitpid(pid, 0)
    assert text, f"the child ended with status {status} and said nothing"
    answer_read = json.loads(text)
    assert "failure" not in answer_read, answer_read.get("failure")
    return answer_read["result"]


def errno_of(function: Callable[[], Any]) -> int:
    """The errno with which the call fails; 0 when it does not."""
    try:
        function()
    except OSError as error:
        return error.errno or -1
    return 0
