"""Whether the client keeps its law of locks: no thread holds two, and nothing that may block is called under one."""

from __future__ import annotations

import dis
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, Self

import attrs

from realtime_client.testing.stacks import Stack, printable, stack_of

__all__ = ["LockCheck", "LockViolation"]

PACKAGE = __name__.partition(".")[0]
NOT_WATCHED = f"{PACKAGE}.testing"
"""The kit stands for the world around the client: the network, the server, the time. It has laws of its own."""

SIGNALS = frozenset({(f"{PACKAGE}.patience", "_bell"), (f"{PACKAGE}.handles", "_given_back")})
"""Locks that guard nothing: one thread waits until another releases them, or they are taken once and for ever."""
IO_LOCKS = frozenset({(f"{PACKAGE}.transports.streams", name) for name in ("_write_lock", "_io_lock")})
"""A link's own: they serialise its I/O, so that it happens under them; and the second may be taken under the first."""

DEPTH = 15
"""How many calls of a stack are kept."""

_Factory = Callable[[], Any]


@attrs.frozen
class LockViolation:
    """One breach of the law.

    Attributes:
        thread: The thread's name.
        rule: What it did.
        held: The names of the locks that it held, the first one first.
        held_since: Where it took the last of them, as a printable stack.
        stack: Where it broke the law, as a printable stack.
    """

    thread: str
    rule: str
    held: tuple[str, ...]
    held_since: str
    stack: str

    def __str__(self) -> str:
        return (
            f"thread {self.thread} {self.rule} while it held {', '.join(self.held)}\n"
            f"the lock was taken here:\n{self.held_since}the law was broken here:\n{self.stack}"
        )


class LockCheck:
    """Watches the locks that the client makes in a ``with`` block, in all threads of the process.

    The law: a thread that holds a lock of the client takes no other, calls no code but the client's and its libraries'
    (so none of yours), joins no thread, and waits for no socket and no time. The locks of a connection's I/O
    are the one exception: I/O is what they are for, and the TLS object's may be taken under the one of writing. So the
    client's locks cannot become part of a deadlock, whatever locks your own callbacks take.

    Not seen are waits on events and queues, locks that are not the client's, and callbacks that are built-in functions
    or installed in ``site-packages``, which pass for a library's code.

    What breaks the law goes on undisturbed and is noted. Leaving the block raises what was noted, unless the block
    itself failed.

    Locks made before the block are not watched: make the client inside. Nor are the test kit's own locks. While
    a thread holds a watched lock, ``sys.setprofile`` is in use on it. Where blocks are nested, the inner one watches.
    Expect the client to be slower, by some microseconds a lock.

    Raises:
        AssertionError: The law was broken; from the end of the block, and from `verify`.

    Example:
        >>> from realtime_client import RealtimeClient
        >>> from realtime_client.testing import FakeServer, LockCheck
        >>> with LockCheck(), FakeServer() as server, RealtimeClient(server.url) as client:
        ...     client.is_connected
        True
    """

    _active: LockCheck | None = None

    def __init__(self) -> None:
        self._mine = threading.local()
        self._outer: LockCheck | None = None
        self._originals: dict[str, _Factory] = {}
        # Changed by single operations of C, so that they need no lock: it would be one more to be watched.
        self._violations: dict[object, LockViolation] = {}
        self._locks: set[str] = set()

    def __enter__(self) -> Self:
        self._outer, LockCheck._active = LockCheck._active, self
        self._originals = {"Lock": threading.Lock, "RLock": threading.RLock}
        vars(threading).update(Lock=self._factory("Lock", _Watched), RLock=self._factory("RLock", _WatchedReentrant))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        vars(threading).update(self._originals)
        LockCheck._active = self._outer
        if error is None:
            self.verify()

    @property
    def violations(self) -> tuple[LockViolation, ...]:
        """What was noted since the last `verify`, each place once."""
        return tuple(self._violations.copy().values())

    @property
    def locks(self) -> frozenset[str]:
        """The names of the locks that were made and watched: ``realtime_client.store:_lock``."""
        return frozenset(self._locks.copy())

    def verify(self) -> None:
        """Raise an ``AssertionError`` with everything that was noted, and forget it."""
        found, self._violations = self._violations, {}
        if found:
            raise AssertionError("the law of locks was broken\n\n" + "\n".join(map(str, found.values())))

    # Making

    def _factory(self, kind: str, watched: type[_Watched]) -> _Factory:
        make = self._originals[kind]

        def factory() -> Any:
            frame = sys._getframe(1)
            if frame.f_code is threading.Condition.__init__.__code__ and frame.f_back is not None:
                frame = frame.f_back  # a condition that makes its own lock: it belongs to who made the condition
            module = str(frame.f_globals.get("__name__"))
            if not _within(module, PACKAGE) or _within(module, NOT_WATCHED):
                return make()
            attribute = _assigned_at(frame)
            if (module, attribute) in SIGNALS:
                return make()
            name = f"{module}:{attribute}"
            self._locks.add(name)
            return watched(self, make(), name, serves_io=(module, attribute) in IO_LOCKS)

        return factory

    # Watching: called by the locks, on the threads that use them

    def held(self) -> list[_Hold]:
        """What the calling thread holds."""
        try:
            held: list[_Hold] = self._mine.held
        except AttributeError:
            held = self._mine.held = []
        return held

    def taking(self, lock: _Watched, held: list[_Hold], frame: FrameType) -> None:
        """The calling thread takes a lock."""
        for hold in held:
            if hold.lock is lock and not lock.reentrant:
                self._note("takes it again", held, frame)
            elif hold.lock is not lock and not (hold.lock.serves_io and lock.serves_io):
                self._note(f"takes {lock.name}", held, frame)

    def begin(self) -> None:
        """The calling thread holds a lock now: watch what it calls."""
        if LockCheck._active is self:
            sys.setprofile(self._called)

    def end(self) -> None:
        """The calling thread may have released its last lock: watch no longer what it calls."""
        if not self.held() and sys.getprofile() == self._called:
            sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        held = self.held()
        if not held:  # another thread has released it
            self.end()
        elif event == "call":
            if frame.f_code is threading.Thread.join.__code__:
                self._note("joins a thread", held, frame)
            elif _is_foreign(frame.f_code.co_filename):
                self._note(f"calls {frame.f_code.co_qualname}()", held, frame)
        elif event == "c_call" and _waits(argument) and not all(hold.lock.serves_io for hold in held):
            self._note(f"calls {argument.__qualname__}()", held, frame)

    def _note(self, rule: str, held: list[_Hold], frame: FrameType) -> None:
        if LockCheck._active is not self:
            return
        stack = stack_of(frame, DEPTH)
        names = tuple(hold.lock.name for hold in held)
        key = (rule, names, stack[:1])
        if key not in self._violations:
            self._violations[key] = LockViolation(
                threading.current_thread().name, rule, names, printable(held[-1].stack), printable(stack)
            )


@attrs.frozen(eq=False)
class _Hold:
    """That a thread holds a lock, and where it took it."""

    lock: _Watched
    stack: Stack


class _Watched:
    """A lock that tells a check who takes it."""

    reentrant = False

    def __init__(self, check: LockCheck, lock: Any, name: str, *, serves_io: bool) -> None:
        self.name = name
        self.serves_io = serves_io
        self._check = check
        self._lock = lock
        self._holder: list[_Hold] = []  # what the thread that has taken it holds

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._acquire(sys._getframe(1), blocking, timeout)

    def _acquire(self, frame: FrameType, blocking: bool = True, timeout: float = -1) -> bool:
        taker = str(frame.f_globals.get("__name__"))
        if not (taker == "threading" or _within(taker, PACKAGE)):  # a condition is the client's, a test is not
            return bool(self._lock.acquire(blocking, timeout))
        held = self._check.held()
        if held and blocking:
            self._check.taking(self, held, frame)  # before it waits, perhaps for ever
        if not self._lock.acquire(blocking, timeout):
            return False
        if held and not blocking:
            self._check.taking(self, held, frame)
        held.append(_Hold(self, stack_of(frame, DEPTH)))
        self._holder = held
        self._check.begin()
        return True

    def release(self) -> None:
        holder = self._holder  # not always the calling thread's
        for position in reversed(range(len(holder))):
            if holder[position].lock is self:
                del holder[position]
                break
        self._check.end()
        self._lock.release()

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def __enter__(self) -> bool:
        return self._acquire(sys._getframe(1))

    def __exit__(self, *exception: object) -> None:
        self.release()


class _WatchedReentrant(_Watched):
    """The same for a re-entrant lock, with what a condition asks of one."""

    reentrant = True

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())

    def _release_save(self) -> tuple[Any, list[_Hold]]:
        holder = self._holder
        holds = [hold for hold in holder if hold.lock is self]
        holder[:] = [hold for hold in holder if hold.lock is not self]
        self._check.end()
        return self._lock._release_save(), holds

    def _acquire_restore(self, saved: tuple[Any, list[_Hold]]) -> None:
        state, holds = saved
        self._lock._acquire_restore(state)
        self._holder = self._check.held()
        self._holder += holds
        self._check.begin()


# What is whose


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _assigned_at(frame: FrameType) -> str:
    """The name that what is just being called is about to be assigned to."""
    place = frame.f_code, frame.f_lasti
    if place not in _assigned:
        names = [
            instruction.argval
            for instruction in dis.get_instructions(frame.f_code)
            if instruction.offset > frame.f_lasti and instruction.opname.startswith("STORE_")
        ]
        _assigned[place] = names[0] if names else f"line {frame.f_lineno}"
    return _assigned[place]


_assigned: dict[tuple[CodeType, int], str] = {}

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
_LIBRARIES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_foreign: dict[str, bool] = {}


def _is_foreign(file: str) -> bool:
    """Whether a file is neither the client's nor a library's: then what is in it is the user's."""
    known = _foreign.get(file)
    if known is None:
        path = os.path.abspath(file)
        of_a_library = path.startswith(_STANDARD) or any(part in path for part in _LIBRARIES)
        generated = file.startswith("<")  # by attrs, by namedtuple, by the import machinery
        known = _foreign[file] = not (path.startswith(_OURS) or of_a_library or generated)
    return known


_WAITING_FUNCTIONS = frozenset({("time", "sleep"), ("select", "select"), ("_socket", "getaddrinfo")})
_WAITING_METHODS = frozenset(
    {"poll", "connect", "accept", "recv", "recv_into", "send", "sendall", "sendmsg", "read", "write", "do_handshake"}
)
_WAITING_OWNERS = frozenset({"select", "socket", "_socket", "_ssl"})
"""The modules of sockets, TLS objects and poll objects."""


def _waits(function: Any) -> bool:
    """Whether a built-in function waits for time, or does I/O."""
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if isinstance(owner, ModuleType):
        return (owner.__name__, name) in _WAITING_FUNCTIONS
    return name in _WAITING_METHODS and type(owner).__module__ in _WAITING_OWNERS
