"""What text frames say, one by one and at random."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.orgsocket.frames import Frames, Greeting
from worker.orgsocket.link import Ending


class Heard:
    """A Reader that notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[object, ...]] = []

    def __getattr__(self, name: str):
        return lambda *arguments: self.notes.append((name, *arguments))


def reading(text: str, *, fast: bool = True) -> tuple[bool, list[tuple[object, ...]]]:
    heard = Heard()
    passed = Frames(heard, heard.ended, fast=fast).read(text)
    return passed, heard.notes


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("431[]", ("acknowledged", 1, None)),
        ('4312[{"ok":true}]', ("acknowledged", 12, None)),
        ("437[false]", ("acknowledged", 7, "the server answered false")),
        ('437[{"error":"ไม่พบ"}]', ("acknowledged", 7, "ไม่พบ")),
        ('461-9[{"_placeholder":true,"num":0}]', ("acknowledged", 9, None)),
        ('42["a",1,{"b":2},"offset"]', ("told", "a", [1, {"b": 2}, "offset"])),
        ('425["a"]', ("told", "a", [])),
        ("2", ("heartbeat",)),
    ],
)
def test_a_frame_is_told_as_what_it_is(text: str, note: tuple[object, ...]) -> None:
    assert reading(text)[1] == [note]


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("41", Ending("the server disconnected us from the namespace")),
        ("1", Ending("the server closed the Engine.IO session")),
        ('44{"message":"try later"}', Ending("CONNECT_ERROR: try later")),
        ('44{"message":"unauthorized"}', Ending("CONNECT_ERROR: unauthorized", refused=True)),
        ("44", Ending("CONNECT_ERROR: None")),
        ("44{", Ending("CONNECT_ERROR: {")),
        ("x", Ending("the server sent what is no Engine.IO packet: 'x'")),
        ("", Ending("the server sent what is no Engine.IO packet: ''")),
    ],
)
def test_a_frame_that_ends_the_session_says_why(text: str, ending: Ending) -> None:
    assert reading(text) == (False, [("ended", ending)])


def test_the_open_packet_is_kept_and_passed_on() -> None:
    heard = Heard()
    frames = Frames(heard, heard.ended, fast=True)
    assert frames.read('0{"sid":"a","pingInterval":25000,"pingTimeout":20000,"maxPayload":100}')
    assert frames.greeting == Greeting(25.0, 20.0, 100)
    assert heard.notes == []


@pytest.mark.parametrize("text", ["2", "6", '40{"sid":"a"}'])
def test_the_library_sees_what_its_handshake_and_heartbeat_need(text: str) -> None:
    assert reading(text)[0]


def test_the_library_sees_acknowledgements_on_its_own_path_only() -> None:
    assert reading("431[]", fast=False) == (True, [])
    assert reading("431[]", fast=True)[0] is False


def test_a_connect_without_a_session_id_is_the_old_protocol() -> None:
    passed, [(name, ending)] = reading("40")
    assert (passed, name) == (False, "ended")
    assert isinstance(ending, Ending)
    assert ending.refused
    assert "Engine.IO 3" in ending.reason


@given(st.text(max_size=40) | st.from_regex(r"[0-6]{1,2}[0-9]{0,3}[-/,]?[\[{\"].{0,20}") | st.from_regex(r"4[0-6].*"))
@example("42[" + "[" * 5000)
@example('42["a",' + "9" * 5000 + "]")
@example("43" + "9" * 5000 + "[]")
@example("42\ud800")
def test_no_frame_whatever_raises(text: str) -> None:
    for fast in (True, False):
        reading(text, fast=fast)
