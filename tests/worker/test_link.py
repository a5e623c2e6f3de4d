from __future__ import annotations

import json
import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker import link


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    pair = link.Link.to_runner(ours, send_seconds=0.2), link.Link.to_supervisor(theirs)
    yield pair
    for end in pair:
        end.close()


@pytest.fixture
def raw():
    """A link on the supervisor's side, and the bare socket of whoever poses as the runner."""
    ours, theirs = socket.socketpair()
    end = link.Link.to_runner(ours)
    yield end, theirs
    end.close()
    theirs.close()


def framed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def test_a_message_arrives_as_it_was_sent(ends):
    supervisor, runner = ends
    start = link.Start(
        job="j.1", kind="train", family="f", family_version=2, params={"a": [1.5, None]}, seed=2**53,
        folder="/x", dataset=link.DatasetHere(folder="/d", facts={"items": 3}),
        checkpoint=link.CheckpointHere(path="/c", step=4),
    )  # fmt: skip
    supervisor.send(start)
    assert runner.receive() == start


def test_a_model_schema_travels_under_its_plain_name(ends):
    supervisor, runner = ends
    made = link.ModelMade(folder="model", schema_={"type": "object"}, facts={})
    runner.send(link.Done(job="j.1", model=made))
    assert supervisor.receive().model.schema_ == {"type": "object"}
    assert b'"schema":' in link.Done(job="j.1", model=made).model_dump_json(by_alias=True).encode()


def test_looking_without_waiting_brings_nothing(ends):
    assert ends[0].receive(0) is None
    assert ends[0].receive(0.01) is None


def test_messages_in_one_packet_come_one_by_one(raw):
    end, peer = raw
    peer.sendall(framed(b'{"type":"beat"}') * 3)
    assert [end.receive(1).type for _ in range(3)] == ["beat"] * 3
    assert end.receive(0) is None


def test_a_message_that_trickles_in_is_put_together(raw):
    end, peer = raw
    for byte in framed(b'{"type":"beat"}'):
        assert end.receive(0) is None
        peer.sendall(bytes([byte]))
    assert end.receive(1).type == "beat"


def test_a_trickle_holds_the_receiver_no_longer_than_asked(raw):
    end, peer = raw
    stop = threading.Event()

    def trickle():
        peer.sendall(struct.pack(">I", 1 << 20))
        while not stop.wait(0.005):
            peer.sendall(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    began = time.monotonic()
    assert end.receive(0.1) is None
    stop.set()
    thread.join()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"type":"strange"}',
        b'{"type":"beat","extra":1}',
        b'{"type":"progress","job":"j.1","step":"1","total":2}',
        b'{"type":"progress","job":"j.1","step":-1,"total":2}',
        b'{"type":"progress","job":"../x","step":1,"total":2}',
        b'{"type":"start"}',  # what only the supervisor may say
        b'{"type":"checkpoint","job":"j.1","step":1,"file":"../../etc/passwd"}',
        b'{"type":"checkpoint","job":"j.1","step":1,"file":".hidden"}',
        b'{"type":"checkpoint","job":"j.1","step":1,"file":"a/b"}',
        b"\xff\xfe",
    ],
)
def test_nonsense_is_a_bad_message(raw, data):
    end, peer = raw
    peer.sendall(framed(data))
    with pytest.raises(link.BadMessage):
        end.receive(1)


def test_a_message_that_is_too_long_is_refused_before_it_is_read(raw):
    end, peer = raw
    peer.sendall(struct.pack(">I", link.LARGEST_MESSAGE + 1))
    with pytest.raises(link.BadMessage):
        end.receive(1)


def test_a_message_that_is_too_long_is_not_sent(ends):
    with pytest.raises(link.BadMessage):
        ends[1].send(link.Log(job="j.1", text="x" * (link.LARGEST_MESSAGE + 1)))
    assert ends[0].receive(0) is None


def test_a_closed_end_is_noticed_by_reader_and_writer(ends):
    supervisor, runner = ends
    runner.close()
    with pytest.raises(link.LinkClosed):
        supervisor.receive(1)
    with pytest.raises(link.LinkClosed):
        for _ in range(100):
            supervisor.send(link.Stop())


def test_a_peer_that_does_not_read_cannot_hold_the_sender(ends):
    with pytest.raises(link.LinkClosed):
        for _ in range(1000):
            ends[0].send(link.Drain(job="j.1", why="x" * 100_000))


def test_threads_may_send_at_the_same_time(ends):
    supervisor, runner = ends
    texts = [letter * 50_000 for letter in "abcd"]

    def speak(text):
        for _ in range(20):
            runner.send(link.Log(job="j.1", text=text))

    threads = [threading.Thread(target=speak, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    heard = [supervisor.receive(10).text for _ in range(80)]
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(texts * 20)


def test_numbers_that_are_not_finite_have_no_place_in_params_of_a_message():
    message = link.Metrics(job="j.1", points=[(1, 0.5, {"loss": None})])
    assert json.loads(message.model_dump_json())["points"] == [[1, 0.5, {"loss": None}]]
    with pytest.raises(ValidationError):
        link.Progress(job="j.1", step=1.5, total=2)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data):
    ours, theirs = socket.socketpair()
    end = link.Link.to_runner(ours)
    theirs.sendall(data)
    theirs.close()
    try:
        while True:
            end.receive(1)
    except (link.BadMessage, link.LinkClosed):
        pass
    finally:
        end.close()


def test_a_number_that_no_database_takes_is_no_message():
    for step in (-1, 1 << 53):
        with pytest.raises(ValueError):
            link.Progress(job="a.1", step=step, total=step)
    with pytest.raises(ValueError):
        link.Text(job="a.1", index=0, text="x" * (link.LONGEST_TEXT + 1))
