#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets into DIRECTORY/TARGET/: what this machine's kernel says at the moment.

    python3 fuzz/seeds.py fuzz/corpus
"""

import contextlib
import glob
import os
import socket
import struct
import sys
import tempfile

LIMIT = 4096  # libFuzzer's own limit where the seeds are no longer


def contents(*patterns, limit=LIMIT):
    """The beginning of every file that can be read, up to the end of a line if it is longer."""
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            content = file.read(limit)
            yield content[:content.rfind(b"\n") + 1] if len(content) == limit and b"\n" in content else content


def links():
    for path in glob.glob("/proc/[0-9]*/fd/*")[:500]:
        with contextlib.suppress(OSError):
            yield os.fsencode(os.readlink(path))


def diag(*requests):
    """Answers of sock_diag(7): each request is a message type and what follows the head of the message."""
    for kind, body in requests:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as asked:
            asked.settimeout(5)
            # NLM_F_REQUEST | NLM_F_DUMP
            asked.send(struct.pack("=IHHII", 16 + len(body), kind, 0x301, 7, 0) + body)
            with contextlib.suppress(OSError):
                yield asked.recv(65536)[:LIMIT]


def inet(family, protocol):
    return 20, struct.pack("=BBBxI", family, protocol, 2, 0xFFFFFFFF) + bytes(48)


def unix():
    return 20, struct.pack("=BBHIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, 0x51) + bytes(8)


def vdso():
    """This process's own, as it lies in memory."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        line = next((line for line in maps if line.endswith("[vdso]\n")), None)
    if line:
        start, end = (int(at, 16) for at in line.split()[0].split("-"))
        with open("/proc/self/mem", "rb") as memory:
            memory.seek(start)
            yield memory.read(end - start)


def programs():
    with open("/proc/self/exe", "rb") as file:
        yield file.read(8192)


def sockets():
    """Some to be seen in the tables."""
    listening = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    listening[1].bind(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0fdclose seed \n" + str(os.getpid()))
    return [*listening, abstract, socket.create_connection(listening[0].getsockname())]


def main(directory):
    held = [*sockets(), *socket.socketpair(), *os.pipe(), os.eventfd(0), tempfile.TemporaryFile()]
    processes = ["/proc/self", *sorted(glob.glob("/proc/[0-9]*"))[:20]]
    of = lambda *names: [f"{process}/{name}" for process in processes for name in names]
    seeds = {
        "datagrams": diag(inet(2, 6), inet(10, 6), inet(2, 17), unix()),
        "descriptors": [*set(links()), *contents("/proc/[0-9]*/fdinfo/*")][:300],
        "images": [*vdso(), *programs()],
        "maps": contents(*of("maps")),
        "packets": [
            bytes.fromhex("45000028000040004006" "00000a0000010a0000020050126700000001000000025010ffff00000000"),
            bytes.fromhex("6000000000140640" + "20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02")
            + bytes.fromhex("0050126700000001000000025011ffff00000000"),
        ],
        "selectors": [
            b"--pid\n1234\n--inode\n43000", b"--state\nclose-wait\n--peer\n10.0.0.0/8:443", b"[fe80::1/10]:80",
            b"list\n--json\n--comm\nnginx", b"--pid=1\n--fd=12,20-31\n-v\n--max-pause\n5ms", b"::ffff:10.0.0.1",
        ],
        "tables": contents("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6", "/proc/net/unix"),
        "terminal": [b"\x28/srv/gr\xc3\xb6\xc3\x9fe/\xe6\x96\x87", b"\x14\x1b[31mred\xff\n\t", b"\x0ae\xcc\x81\xe2\x80\xae"],
        "threads": contents(*of("status", "stat", "syscall", "auxv")),
    }
    for target, inputs in seeds.items():
        place = os.path.join(directory, target)
        os.makedirs(place, exist_ok=True)
        written = 0
        for number, content in enumerate(inputs):
            with open(os.path.join(place, f"seed-{number}"), "wb") as file:
                file.write(content)
            written += bool(content)
        if not written:
            sys.exit(f"no seed for {target}")
        print(f"{target}: {written} seeds")
    del held


if __name__ == "__main__":
    main(sys.argv[1])
