#!/usr/bin/env python3
"""A slow and lossy wire between two interfaces, for kernels without netem.

    wire.py --plain IFACE                            disables offloading, so that frames have complete checksums and fit into the MTU
    wire.py A B DELAY_MS JITTER_MS LOSS_PERCENT      forwards frames in both directions until it is killed
"""
import ctypes
import fcntl
import heapq
import random
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SIOCETHTOOL = 0x8946
# Transmit checksums, TCP and generic segmentation (linux/ethtool.h).
ETHTOOL_SETTINGS = (0x17, 0x1F, 0x24)
# Maximum number of delayed frames. Further ones are dropped, as by a full router queue.
MAX_WAITING = 10_000
MAX_FRAME = 65_536


def plain(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for setting in ETHTOOL_SETTINGS:
            value = bytearray(struct.pack("II", setting, 0))
            address = (ctypes.c_char * len(value)).from_buffer(value)
            pointer = ctypes.addressof(address)
            fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), pointer))


def carry(names, delay, jitter, loss):
    ends = []
    for name in names:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        end.bind((name, ETH_P_ALL))
        ends.append(end)
    waiting, number = [], 0
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select(ends, [], [], pause)
        now = time.monotonic()
        for end in readable:
            frame, source = end.recvfrom(MAX_FRAME)
            if source[2] == PACKET_OUTGOING or random.random() < loss or len(waiting) >= MAX_WAITING:
                continue
            number += 1
            due = now + delay + random.uniform(-jitter, jitter)
            heapq.heappush(waiting, (due, number, ends[1 - ends.index(end)], frame))
        while waiting and waiting[0][0] <= now:
            _, _, end, frame = heapq.heappop(waiting)
            try:
                end.send(frame)
            except OSError:
                pass  # The link is down or the frame is too large: drop it.


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--plain", interface]:
            plain(interface)
        case [a, b, delay, jitter, loss]:
            carry((a, b), float(delay) / 1000, float(jitter) / 1000, float(loss) / 100)
        case _:
            sys.exit(__doc__)
