"""Many clients want something of one container at the same time, or at a bad one."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from harness import image
from harness.api import Api
from harness.box import Box
from harness.engine import EngineProcess


def ten(ask: Callable[[], int]) -> Counter[int]:
    """Ten at once; how often each status came."""
    with ThreadPoolExecutor(10) as pool:
        return Counter(pool.map(lambda _: ask(), range(10)))


def test_ten_starts_are_one(api: Api) -> None:
    """One 204, nine 304, one process."""
    box = Box.create(api, "sleep", "60")
    assert ten(lambda: box.try_start().status) == {204: 1, 304: 9}
    assert len(box.processes()) == 1
    box.remove()


def test_ten_stops_are_one(api: Api) -> None:
    """All hear that it has stopped, some that it had."""
    box = Box.run(api, "sleep", "60")
    assert set(ten(lambda: api("POST", f"/containers/{box.id}/stop?t=0").status)) <= {204, 304}
    assert box.state["Status"] == "exited"
    box.remove()


def test_ten_restarts_leave_it_running(api: Api) -> None:
    """Ten times 204, and one process."""
    box = Box.run(api, "sleep", "60")
    assert ten(lambda: api("POST", f"/containers/{box.id}/restart?t=0").status) == {204: 10}
    assert box.state["Status"] == "running"
    assert len(box.processes()) == 1
    box.remove()


def test_ten_removals_are_one(api: Api) -> None:
    """One 204; the others hear that it is under way or done."""
    box = Box.run(api, "sleep", "60")
    answers = ten(lambda: api("DELETE", f"/containers/{box.id}?force=1").status)
    assert answers[204] == 1
    assert set(answers) <= {204, 404, 409}


def test_ten_of_one_name_are_one(api: Api) -> None:
    """One 201, nine 409."""
    body = {"Image": image.BUSYBOX}
    assert ten(lambda: api("POST", "/containers/create?name=only", body).status) == {201: 1, 409: 9}
    api.ok("DELETE", "/containers/only")


def test_a_name_is_free_when_the_container_is_gone(api: Api) -> None:
    """Create, run and remove under one name, thirty times without a pause."""
    for _ in range(30):
        box = Box.run(api, "true", name="again", host={"NetworkMode": "none"})
        box.wait()
        box.remove()


def test_a_stop_amid_a_start_stops_it(api: Api) -> None:
    """It is not told that there is nothing to stop while the container is on its way."""
    for pause in (0.0, 0.001, 0.003, 0.006):
        box = Box.create(api, "sleep", "60")
        starter = threading.Thread(target=box.try_start)
        starter.start()
        time.sleep(pause)  # how far the start gets until then is the point
        answer = api("POST", f"/containers/{box.id}/stop?t=0")
        starter.join()
        assert answer.status in (204, 304)
        if answer.status == 204:
            assert box.state["Status"] == "exited"
        box.remove()


def test_stopping_what_is_paused_lets_it_hear_the_signal(api: Api) -> None:
    """It ends by its own handler, not by the kill after the time-out."""
    box = Box.run(api, "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done").says("up")
    api.ok("POST", f"/containers/{box.id}/pause")
    api.ok("POST", f"/containers/{box.id}/stop?t=20")
    assert box.state["ExitCode"] == 3
    box.remove()


def test_thirty_at_once(api: Api, engine: EngineProcess) -> None:
    """Eight clients start thirty containers: all run, all have addresses of their own, all go."""
    with ThreadPoolExecutor(8) as pool:
        boxes = list(pool.map(lambda _: Box.run(api, "sleep", "60"), range(30)))
        addresses = {box.inspect()["NetworkSettings"]["IPAddress"] for box in boxes}
        assert len(addresses) == 30
        list(pool.map(lambda box: box.remove(), boxes))
    assert api.ok("GET", "/containers/json?all=1") == []


def test_a_client_that_leaves_amid_its_request_leaves_nothing_half_done(api: Api) -> None:
    """It hangs up right after asking for a start: the container runs, once, and can be stopped and removed."""
    box = Box.create(api, "sleep", "60")
    connection = api.connect()
    connection.sendall(f"POST /containers/{box.id}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    connection.close()
    box.try_start()
    assert len(box.processes()) == 1
    api.ok("POST", f"/containers/{box.id}/stop?t=0")
    assert box.processes() == []
    box.remove()
