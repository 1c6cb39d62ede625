"""Stages run ahead of one another by a bounded number of frames and of bytes, and end together."""

import threading

import numpy as np
import pytest
import torch

from models import Wav2Lip
from wav2lip.crops import FACE_SIZE
from wav2lip.lipsync.ahead import HELD, ahead, as_one
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.painting import paint
from wav2lip.lipsync.repaint import Repainter
from wav2lip.lipsync.shown import Shown


def counting(made, closed):
    """Numbers; the list `made` has those that were asked for."""
    try:
        for number in range(100):
            made.append(number)
            yield number
    finally:
        closed.append(threading.current_thread().name)


@pytest.mark.parametrize(("nbytes", "most"), [(1, 5), (HELD // 5, 5), (HELD // 2, 2), (HELD, 1), (9 * HELD, 1)])
def test_no_more_is_made_ahead_than_may_wait_in_number_and_in_bytes(nbytes, most):
    made, closed = [], []
    items = ahead(counting(made, closed), 5, lambda _: nbytes)
    for taken in range(20):
        assert next(items) == taken
    threading.Event().wait(0.2)  # for the thread to make what it may
    assert 20 <= len(made) <= 20 + most
    items.close()
    (name,) = closed
    assert name != threading.current_thread().name
    assert not any(thread.name == name for thread in threading.enumerate())


def test_everything_comes_in_order_and_then_the_end():
    assert list(ahead(counting([], []), 3, lambda _: 1)) == list(range(100))
    assert list(ahead((n for n in ()), 3, lambda _: 1)) == []


def test_stages_as_one_are_closed_with_it_from_the_last_to_the_first():
    closed = []

    def stage(name):
        try:
            yield from range(9)
        finally:
            closed.append(name)

    first, second, third = (stage(name) for name in "abc")
    for one in (first, second, third):
        next(one)
    together = as_one(first, second, third)
    assert next(together) == 1
    together.close()
    assert closed == ["c", "b", "a"]


@pytest.mark.parametrize(("side", "most"), [(64, 8), (6000, 2), (12000, 1)])
def test_a_batch_has_fewer_frames_where_they_are_large(side, most):
    taken = []

    def frames():
        for number in range(9):
            taken.append(number)
            picture = np.broadcast_to(np.uint8(0), (side, side, 3))  # takes no memory, and says that it does
            yield Shown(number, picture, [])

    repaint = Repainter(Wav2Lip(width=0.0625), torch.device("cpu"))
    assert repaint.resolution == FACE_SIZE
    painted = paint(frames(), None, repaint, 8, build_blend("box"))
    for number in range(8):
        assert next(painted).number == number
        assert len(taken) <= number - number % most + most
