"""What is kept in Redis for a while: results of earlier extractions, and who asked how often.

Redis makes the service faster and fairer. Without it uploads still work: they are only slower,
and nobody is held back.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict

from redis import Redis, RedisError

from metaextract.extract import Result

PREFIX = "metaextract"
RESULT_SECONDS = 24 * 3600
WINDOW_SECONDS = 60

log = logging.getLogger(__name__)


class Memory:
    def __init__(self, redis_url: str, clock: Callable[[], float] = time.time) -> None:
        self._redis: Redis = Redis.from_url(
            redis_url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True
        )
        self._clock = clock

    def close(self) -> None:
        self._redis.close()

    def check(self) -> None:
        """Raises RedisError unless Redis answers."""
        self._redis.ping()

    def recall(self, sha256: str) -> Result | None:
        try:
            stored = self._redis.get(f"{PREFIX}:result:{sha256}")
        except RedisError as error:
            log.warning("read a cached result: %s", error)
            return None
        return Result(**json.loads(str(stored))) if stored else None

    def remember(self, sha256: str, result: Result) -> None:
        try:
            self._redis.set(
                f"{PREFIX}:result:{sha256}", json.dumps(asdict(result)), ex=RESULT_SECONDS
            )
        except RedisError as error:
            log.warning("cache a result: %s", error)

    def seconds_to_wait(self, client: str, per_minute: int) -> int:
        """Counts a request of this client: 0 lets it through, else its window ends in so long."""
        window, wait = window_of(self._clock())
        key = f"{PREFIX}:rate:{client}:{window}"
        try:
            with self._redis.pipeline() as pipe:
                pipe.incr(key)
                pipe.expire(key, WINDOW_SECONDS)
                count, _ = pipe.execute()
        except RedisError as error:
            log.warning("count a request: %s", error)
            return 0
        return wait if count > per_minute else 0


def window_of(now: float) -> tuple[int, int]:
    """The fixed window that a moment is in, and the whole seconds (1 or more) until the next."""
    window, passed = divmod(int(now), WINDOW_SECONDS)
    return window, WINDOW_SECONDS - passed
