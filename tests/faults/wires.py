"""Wires between two network namespaces of the kernel: this process's own, and one that is made for a test.

A `Namespace` has an interface pair to here: two ends of a `veth`, or two TUN devices between which a thread carries
packets, and loses, doubles and reorders them as `tc netem` does where the kernel has it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import attrs

from tests.network import changing

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # sched.h
TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_BYTES = 65536
NET = f"198.18.{os.getpid() % 250}"  # RFC 2544: for tests of networks, routed nowhere
NEAR, FAR = f"{NET}.1", f"{NET}.2"
_numbers = itertools.count()


LACKS = (
    "Operation not permitted",
    "Permission denied",
    "Operation not supported",
    "Read-only file system",
    "Unknown device type",
    "Specified qdisc kind is unknown",
)
"""What the commands say where the rights or the kernel's parts are missing; whatever else they say is an error."""


class UnavailableError(OSError):
    """This machine does not have it, or does not let us."""


def ip(*words: str) -> None:
    """Run ``ip``.

    Raises:
        UnavailableError: It may not, or the kernel cannot; with its words.
        OSError: It refused for another reason.
    """
    _run("ip", *words)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        kind = UnavailableError if any(words in done.stderr for words in LACKS) else OSError
        raise kind(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def why_not() -> str | None:
    """Why there can be no network namespaces here, or ``None`` where there can."""
    if not sys.platform.startswith("linux"):
        return f"network namespaces are Linux's, and this is {sys.platform}"
    if shutil.which("ip") is None:
        return "network namespaces need the command ip (iproute2), which is not installed"
    try:
        with namespace() as far:
            far.listening().close()
    except (UnavailableError, PermissionError) as error:
        return f"network namespaces need root and CAP_NET_ADMIN: {error}"
    return None


def why_no_netem() -> str | None:
    """Why the kernel cannot lose packets by ``tc netem``, or ``None`` where it can."""
    if shutil.which("tc") is None:
        return "netem needs the command tc (iproute2), which is not installed"
    with namespace() as far:
        try:
            far.netem("delay", "1ms")
        except UnavailableError as error:
            return f"this kernel has no netem: {error}"
    return None


def why_no_tun() -> str | None:
    """Why packets cannot be carried by a thread of ours, or ``None`` where they can."""
    try:
        with lossy_namespace(Losses(), seed=0):
            return None
    except (UnavailableError, FileNotFoundError, PermissionError) as error:
        return f"a wire of our own needs {TUN}: {error}"
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO, errno.EOPNOTSUPP):  # the file is there, the driver is not
            return f"a wire of our own needs {TUN}: {error}"
        raise


@attrs.frozen
class Namespace:
    """Another network namespace, with a wire to this one.

    Attributes:
        name: Of the namespace.
        near: The wire's interface on this side, with the address `NEAR`.
        far: The one over there, with the address `FAR`.
    """

    name: str
    near: str
    far: str

    def ip(self, *words: str) -> None:
        """Run ``ip`` over there."""
        ip("-n", self.name, *words)

    def netem(self, *words: str) -> None:
        """Let the kernel lose, delay or reorder what goes either way."""
        _run("tc", "qdisc", "replace", "dev", self.near, "root", "netem", *words)
        _run("tc", "-n", self.name, "qdisc", "replace", "dev", self.far, "root", "netem", *words)

    def up(self) -> None:
        """Switch the wire on, with the addresses."""
        for run, name, address in ((ip, self.near, NEAR), (self.ip, self.far, FAR)):
            run("addr", "replace", f"{address}/30", "dev", name)
            run("link", "set", name, "up")

    def mend(self) -> None:
        """Undo what a test has done to the wire."""
        for run, name, other in ((ip, self.near, FAR), (self.ip, self.far, NEAR)):
            with contextlib.suppress(OSError):  # nothing is known of that neighbour
                run("neigh", "del", other, "dev", name)
        self.up()

    @contextlib.contextmanager
    def route(self, kind: str) -> Iterator[None]:
        """For a while the only route from here to there is none: ``unreachable``, ``prohibit`` or ``blackhole``."""
        ip("route", "add", kind, f"{FAR}/32")
        try:
            yield
        finally:
            ip("route", "del", kind, f"{FAR}/32")

    def listening(self) -> socket.socket:
        """A socket that listens over there."""
        return self.inside(lambda: socket.create_server((FAR, 0)))

    def inside(self, call: Callable[[], T]) -> T:
        """Call something on a thread that is over there; what it opens stays there."""
        results: list[T] = []
        errors: list[Exception] = []

        def enter() -> None:
            try:
                self._enter()
                results.append(call())
            except Exception as error:  # noqa: BLE001 - raised again by who asked
                errors.append(error)

        thread = threading.Thread(target=enter, name="namespace")
        thread.start()
        thread.join()
        for error in errors:
            raise error
        return results[0]

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if libc.setns(handle, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(handle)


def _named() -> Namespace:
    tag = f"{os.getpid()}-{next(_numbers)}"
    return Namespace(f"rtc-{tag}", f"rn{tag}", f"rf{tag}")


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace behind a pair of virtual Ethernet interfaces, up."""
    far = _named()
    with changing():
        ip("netns", "add", far.name)
        try:
            ip("link", "add", far.near, "type", "veth", "peer", "name", far.far, "netns", far.name)
            far.up()
            yield far
        finally:
            ip("netns", "del", far.name)  # and with it the pair
            with contextlib.suppress(OSError):  # which the kernel does some time later
                ip("link", "del", far.near)


@attrs.frozen(kw_only=True)
class Losses:
    """What happens to packets, by chance.

    Attributes:
        lost: The share that never arrives.
        doubled: The share that arrives twice.
        delay: Each is late by up to so many seconds, whatever went before it: that is how they are reordered.
    """

    lost: float = 0.0
    doubled: float = 0.0
    delay: float = 0.0


class LossyWire:
    """Carries packets between two TUN devices.

    Attributes:
        lost: Packets that were lost so far.
        carried: Packets that arrived.
        overtaken: Packets that arrived later than one that was sent after them.
    """

    def __init__(self, near: int, far: int, losses: Losses, seed: int) -> None:
        self._ends = (near, far)
        self._losses = losses
        self._random = random.Random(seed)
        self._stopped, self._stop = socket.socketpair()
        self.lost = self.carried = self.overtaken = 0
        self._thread = threading.Thread(target=self._run, name="lossy-wire", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.send(b"x")
        self._thread.join()
        self._stopped.close()
        self._stop.close()

    def _run(self) -> None:
        other = dict(zip(self._ends, reversed(self._ends), strict=True))
        due: list[tuple[float, int, int, bytes]] = []
        newest = dict.fromkeys(self._ends, 0)
        order = itertools.count(1)
        while True:
            timeout = max(0.0, due[0][0] - time.monotonic()) if due else None
            ready = select.select([*self._ends, self._stopped.fileno()], [], [], timeout)[0]
            if self._stopped.fileno() in ready:
                return
            for source in ready:
                packet = os.read(source, PACKET_BYTES)
                if self._random.random() < self._losses.lost:
                    self.lost += 1
                    continue
                for _ in range(1 + (self._random.random() < self._losses.doubled)):
                    at = time.monotonic() + self._random.uniform(0, self._losses.delay)
                    heapq.heappush(due, (at, next(order), other[source], packet))
            while due and due[0][0] <= time.monotonic():
                _, number, sink, packet = heapq.heappop(due)
                self.overtaken += number < newest[sink]
                newest[sink] = max(number, newest[sink])
                with contextlib.suppress(OSError):  # the interface is down
                    os.write(sink, packet)
                    self.carried += 1


@contextlib.contextmanager
def lossy_namespace(losses: Losses, seed: int) -> Iterator[tuple[Namespace, LossyWire]]:
    """A namespace behind a wire that loses packets, up."""
    far = _named()
    with changing():
        ip("netns", "add", far.name)
        handles: list[int] = []
        try:
            handles += [_tun(far.near), far.inside(lambda: _tun(far.far))]
            far.up()
            wire = LossyWire(handles[0], handles[1], losses, seed)
            try:
                yield far, wire
            finally:
                wire.close()
        finally:
            for handle in handles:
                os.close(handle)  # and with it the device
            ip("netns", "del", far.name)


def _tun(name: str) -> int:
    """A new TUN device in the namespace of this thread."""
    handle = os.open(TUN, os.O_RDWR)
    try:
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(handle)
        raise
    return handle
