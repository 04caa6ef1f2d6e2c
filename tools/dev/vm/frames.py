"""How keeper.py, agent.py and client.py talk: frames of a length, a kind, the number of a job, and bytes."""

import json
import os
import struct

HEADER = struct.Struct(">IcI")

# To the machine, and from clients to the keeper.
RUN = b"R"  # starts a job: a JSON object
INPUT = b"I"  # bytes for the job's terminal
SIZE = b"W"  # the terminal's new size: a JSON object
KILL = b"K"  # ends a job
STOP = b"S"  # from clients only: ends the keeper and its machine
PING = b"P"  # from clients only: answered by DONE when the machine is up

# From the machine, and from the keeper to clients.
HELLO = b"H"  # the machine is up: a JSON object
OUT = b"O"  # what the job wrote to stdout
ERR = b"E"  # what the job wrote to stderr
DONE = b"D"  # the job is over: a JSON object

# A virtio port takes 32 KiB at a time.
MOST = 16384


def pack(kind, job=0, data=b""):
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    return HEADER.pack(len(data), kind, job) + data


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:MOST]) :]


class Reader:
    """Makes frames of the bytes that arrive."""

    def __init__(self):
        self.buffer = bytearray()

    def feed(self, data):
        """Yields a tuple (kind, job, bytes) for each frame that `data` completes."""
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            length, kind, job = HEADER.unpack_from(self.buffer)
            end = HEADER.size + length
            if len(self.buffer) < end:
                return
            payload = bytes(self.buffer[HEADER.size : end])
            del self.buffer[:end]
            yield kind, job, payload
