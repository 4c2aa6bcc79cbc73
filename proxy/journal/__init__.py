"""The journal: the one way into the store, and the reason why nothing is lost.

One writer (a gateway, or admin) appends frames to segment files of its own; one reader (the recorder) tails them.
An append is one `write(2)`: it survives the death of the process. A lock held by the writer tells the reader whether
the writer lives. Frames carry a checksum; a torn tail is cut, a bad frame is set aside, both are counted.
"""

from proxy.journal.frames import CHUNK_REQUEST, CHUNK_RESPONSE, NOTE, FrameKind, Lost
from proxy.journal.reader import JournalReader, Segment
from proxy.journal.unsafe import Surroundings
from proxy.journal.writer import JournalWriter, boot_of

__all__ = [
    "CHUNK_REQUEST",
    "CHUNK_RESPONSE",
    "NOTE",
    "FrameKind",
    "JournalReader",
    "JournalWriter",
    "Lost",
    "Segment",
    "Surroundings",
    "boot_of",
]
