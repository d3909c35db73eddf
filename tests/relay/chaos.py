"""Relays under a seeded mixture of every fault: ``python -m tests.relay.chaos --faults 20 --seed 1 [--times 10]``.

Three relays write, two readers follow; one fault comes after the other, each as soon as the readers have what was
published before. The exit code is 1 where a reader had an event twice, lost one without a word, or has another store
than one that comes at the end; or where two relays' entries were accepted under one fencing number.
"""

from __future__ import annotations

import argparse
import itertools
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from tests.faults.proxy import BOTH, FaultProxy, Toxics, Way
from tests.relay.load import HISTORY, Load, Reader, load
from tests.relay.servers import PATIENCE, RedisServer, RelayProcess
from tests.relay.test_takeover import LEASE, RATE, assert_fenced, content

RELAYS = 3
PROGRESS = 60.0
"""Seconds in which readers must have what was published."""
WAYS: tuple[Way, Way] = ("fin", "rst")
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class Chaos:
    """One run.

    Args:
        seed: Of what happens, and for how long.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stack = ExitStack()
        self._names = itertools.count()
        self._begun: list[RelayProcess] = []
        self._alive: list[RelayProcess] = []
        self._proxies: dict[str, FaultProxy] = {}
        self._pause = threading.Event()  # never set
        self.told: list[str] = []

    def run(self, faults: int) -> dict[str, int]:
        """Let so many faults happen, and look at what came of it.

        Returns:
            How many events, gaps, gaps that were not complete, events missing, and terms of relays there were.
        """
        with self._stack:
            self._redis = self._stack.enter_context(RedisServer(*DURABLE))
            self._server, running = self._stack.enter_context(load(RATE))
            for _ in range(RELAYS):
                self._start()
            self._begun[0].wait_for("active", "standing by")
            self._near = self._stack.enter_context(FaultProxy(self._redis.port))
            urls = self._redis.url("s"), self._redis.url("s", port=self._near.port)
            quick = {"heartbeat_interval": 0.5, "heartbeat_timeout": 0.5}
            readers = [self._stack.enter_context(Reader(url, **quick)) for url in urls]
            running.start()
            for _ in range(faults):
                self._wait_for(readers, running)
                often, seldom = [self._kill, self._sleep], [self._cut, self._silence, self._restart, self._wipe]
                fault = self._random.choice(often + often + seldom)
                self.told.append(fault.__name__.strip("_"))
                fault()
            count = running.stop()
            for reader in readers:
                reader.wait_for_number(count - 1, PROGRESS)
            return self._judge(readers, count)

    def _judge(self, readers: Sequence[Reader], count: int) -> dict[str, int]:
        found = {"events": count, "terms": sum(len(relay.fences) for relay in self._begun)}
        found.update(dict.fromkeys(("gaps", "incomplete", "missing"), 0))
        for reader in readers:
            numbers = reader.numbers
            twice = [number for number, times in Counter(numbers).items() if times > 1]
            assert twice == [], f"twice: {twice}"
            missing = sorted(set(range(count)) - set(numbers))
            incomplete = [gap for gap in reader.gaps if not gap.complete]
            assert not missing or incomplete, f"lost without a word: {missing}"
            found["gaps"] += len(reader.gaps)
            found["incomplete"] += len(incomplete)
            found["missing"] += len(missing)
        if "wipe" not in self.told:  # with everything else Redis forgets which numbers it gave
            assert_fenced(self._redis, "s", self._begun)
        with Reader(self._redis.url("s")) as late:
            wanted = content(readers[0].client.store.snapshot())
            for reader in (late, *readers[1:]):
                reader.client.store.wait_for(lambda now: content(now) == wanted, PATIENCE)
        if "wipe" not in self.told or count <= HISTORY:  # what the feed does not give any more is gone
            assert readers[0].client.store.stats.anomaly_count == count
        return found

    def _start(self) -> None:
        name = f"relay-{next(self._names)}"
        proxy = self._proxies[name] = self._stack.enter_context(FaultProxy(self._redis.port))
        options = ("--lease", str(LEASE), "--polling-url", self._server.poll_url)
        url = self._redis.url("s", port=proxy.port)
        relay = self._stack.enter_context(RelayProcess(self._server.url, url, *options, name=name))
        self._begun.append(relay)
        self._alive.append(relay)

    def _wait_for(self, readers: Sequence[Reader], running: Load) -> None:
        # A little after that, so that faults come at any moment of what the last one has led to.
        published = running.count + self._random.randrange(60)
        for reader in readers:
            reader.wait_for_number(published, PROGRESS)

    def _one(self) -> RelayProcess:
        """A relay, most often the active one."""
        active = [relay for relay in self._alive if relay.is_active]
        return active[-1] if active and self._random.random() < 0.8 else self._random.choice(self._alive)

    def _for_a_while(self) -> None:
        self._pause.wait(self._random.uniform(0.05, 2.5 * LEASE))

    # The faults

    def _kill(self) -> None:
        relay = self._one()
        relay.kill()
        self._alive.remove(relay)
        self._start()

    def _sleep(self) -> None:
        relay = self._one()
        relay.signal(signal.SIGSTOP)
        self._for_a_while()
        relay.signal(signal.SIGCONT)

    def _cut(self) -> None:
        for _ in range(self._random.randrange(1, 4)):
            self._near.cut(self._random.choice(WAYS))
            self._proxies[self._one().name].cut(self._random.choice(WAYS))

    def _silence(self) -> None:
        proxy = self._random.choice([self._near, self._proxies[self._one().name]])
        proxy.set(Toxics(black_hole=True), *BOTH)
        self._for_a_while()
        if self._random.random() < 0.5:
            proxy.cut(self._random.choice(WAYS))
        proxy.heal()

    def _restart(self) -> None:
        self._redis.restart(keep=True)

    def _wipe(self) -> None:
        self._redis.restart(keep=False)


def main(given: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.relay.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, help="with this seed and the next ones")
    arguments = parser.parse_args(given)
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.times):
        began, chaos = time.monotonic(), Chaos(seed)
        try:
            outcome = str(chaos.run(arguments.faults))
        except (AssertionError, TimeoutError) as error:
            outcome, failed = f"FAILED: {error!r}", 1
        sys.stdout.write(f"seed {seed}, {time.monotonic() - began:.0f} s, {' '.join(chaos.told)}: {outcome}\n")
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(main())
