# SPDX-License-Identifier: MIT
"""usage: hunt.py DAEMON SECONDS DELAY SIGNAL...

Send the signals to every child of the daemon that stops targets, each after a random time up to DELAY
seconds. Prints how many children that were, and how many of them were in the daemon's session."""
import os
import random
import signal
import sys
import time

daemon, seconds, delay = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
signals = [getattr(signal, name) for name in sys.argv[4:]]
end, seen, found, same = time.time() + seconds, set(), 0, 0
random.seed(1)


def children():
    """Of all threads."""
    for thread in os.listdir(f"/proc/{daemon}/task"):
        try:
            with open(f"/proc/{daemon}/task/{thread}/children", encoding="ascii") as file:
                yield from map(int, file.read().split())
        except OSError:
            pass


def hunt(pid):
    """Its session, or 0: others are looked at again, they may not have their name yet."""
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        if file.read().strip() not in ("bpfshim-shim", "bpfshim-late"):
            return 0
    session = os.getsid(pid)
    until = time.time() + random.random() * delay
    while time.time() < until:
        pass
    for number in signals:
        os.kill(pid, number)
    return session


while time.time() < end:
    try:
        new = set(children()) - seen
    except OSError:
        break
    for child in new:
        try:
            session = hunt(child)
            if session:
                seen.add(child)
                found += 1
                same += session == os.getsid(daemon)
        except OSError:
            pass
print(found, same)
