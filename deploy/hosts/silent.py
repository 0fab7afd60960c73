#!/usr/bin/env python3
"""Opens connections that never finish a TLS handshake: silent.py HOST PORT COUNT.

Every second one says nothing at all; the others send the beginning of a TLS hello. Sockets that the other side closes are
opened again. Prints "open" once all have been opened. Runs until it is killed.
"""

import socket
import sys
import time

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def opened(number):
    """Returns a connection, or None if the other side refuses it."""
    try:
        connection = socket.create_connection((host, port), timeout=2)
        if number % 2:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    except OSError:
        return None
    connection.setblocking(False)
    return connection


def is_closed(connection):
    """Returns whether the other side has closed the connection."""
    try:
        return connection is None or connection.recv(16) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


connections = [opened(number) for number in range(count)]
print("open", flush=True)
while True:
    for number, connection in enumerate(connections):
        if is_closed(connection):
            if connection is not None:
                connection.close()
            connections[number] = opened(number)
    time.sleep(0.1)
