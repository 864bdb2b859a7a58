"""How a command ends by a signal: SIGTERM and SIGHUP as Ctrl-C, so that nothing temporary stays behind."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from types import FrameType
from typing import Final

__all__ = ["Ended", "ends_as_interrupt"]

_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


@dataclass
class Ended:
    """The number of the signal that ended the work; of SIGINT until another came."""

    signal: int = signal.SIGINT


def ends_as_interrupt() -> Ended:
    """Let SIGTERM and SIGHUP do what SIGINT does; what is ignored (nohup) stays ignored.

    While the first of them has its things put away, a second one changes nothing. A process forked off for a part of
    the work ends at once, without a word: so its pool ends it when the work is done.
    """
    ended = Ended()
    own = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own:
            os._exit(128 + number)
        ended.signal = number
        for each in _ENDS:
            signal.signal(each, signal.SIG_IGN)
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(number, frame)
        else:  # a shell ignores SIGINT for what it starts in the background; that is no reason to go on
            raise KeyboardInterrupt

    for each in _ENDS:
        if signal.getsignal(each) is signal.SIG_DFL:
            signal.signal(each, end)
    return ended
