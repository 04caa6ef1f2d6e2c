#!/usr/bin/env python3
"""Clients that are idle, slow or curious, for faults.sh.

    faults.py idle PORT COUNT          opens connections, says "open", and holds them until its stdin ends
    faults.py slow PORT SECONDS        writes a request and reads answers a byte a second, and then the rest
    faults.py load PORT CONNECTIONS    says "loads", and asks until the server closes. Fails if an answer is cut off; prints how many were whole
"""
import re
import selectors
import socket
import sys
import time

REQUEST = b"GET /notes/mine HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = re.compile(rb"HTTP/1\.1 200 OK\r\n(?:[^\r]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n")


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def whole(text):
    """Returns the number of whole answers that a text begins with, and what is behind them."""
    count = 0
    while head := HEAD.match(text):
        end = head.end() + int(head[1])
        if len(text) < end:
            break
        text = text[end:]
        count += 1
    return count, text


def idle(port, count):
    connections = [connect(port) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.read()
    for connection in connections:
        connection.close()


def slow(port, seconds):
    writer = connect(port)
    # So many answers that the server has to stop reading these requests.
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(20)
    reader.connect(("127.0.0.1", port))
    count = 800
    reader.setblocking(False)
    waiting, got = REQUEST * count, b""
    for i in range(seconds):
        try:
            while waiting:
                waiting = waiting[reader.send(waiting) :]
        except BlockingIOError:
            pass
        writer.sendall(REQUEST[i : i + 1])
        time.sleep(1)
        got += reader.recv(1)
    writer.sendall(REQUEST[seconds:])
    answer = b""
    while whole(answer)[0] == 0:
        answer += writer.recv(100)
    deadline = time.monotonic() + 20
    answers = 0
    while answers < count:
        if time.monotonic() > deadline:
            sys.exit("the slow reader did not get all answers")
        try:
            if waiting:
                waiting = waiting[reader.send(waiting) :]
        except BlockingIOError:
            pass
        try:
            got += reader.recv(1 << 20)
        except BlockingIOError:
            time.sleep(0.001)
        number, got = whole(got)
        answers += number
    if waiting or got:
        sys.exit("there is more than the answers")
    print(f"{answers} answers")


def load(port, count):
    selector = selectors.DefaultSelector()
    for _ in range(count):
        connection = connect(port)
        connection.sendall(REQUEST)
        selector.register(connection, selectors.EVENT_READ, b"")
    print("loads", flush=True)
    answers = cut = 0
    while selector.get_map():
        for key, _ in selector.select(20) or sys.exit("the server neither answers nor closes"):
            try:
                got = key.fileobj.recv(65536)
            except OSError:
                got = b""
                cut += 1  # a reset, not an end
            number, rest = whole(key.data + got)
            answers += number
            if not got:
                cut += bool(rest)
                selector.unregister(key.fileobj)
                key.fileobj.close()
                continue
            selector.modify(key.fileobj, selectors.EVENT_READ, rest)
            if number:
                try:
                    key.fileobj.sendall(REQUEST)
                except OSError:
                    pass  # closed meanwhile, which its end says
    print(answers)
    if cut:
        sys.exit(f"{cut} connections were cut off")


{"idle": idle, "slow": slow, "load": load}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
