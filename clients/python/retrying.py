"""When to repeat a call, and when not: the rules of the Rust SDK (docs/protocol.md, "Which errors to repeat").

Nothing here reads a clock, sleeps or draws random numbers except through what it was given, so that tests control it.
"""

import random
import threading
import time

import grpc
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

MAX_ATTEMPTS = 5
FIRST_DELAY, MAX_DELAY = 0.1, 2.0  # seconds
FIRST_RECONNECT, MAX_RECONNECT = 0.25, 30.0
MAX_TOKENS, ANSWERS_PER_RETRY = 100, 10
DOMAIN = "shopping.v1"
TOKEN_REASONS = {"TOKEN_REQUIRED", "TOKEN_INVALID", "TOKEN_EXPIRED"}
# What gRPC reports of a connection that broke during a stream. The market's own errors have an ErrorInfo.
BROKEN = {grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}


class Failure:
    """What a failed call says: its code, the market's reason, and how long to wait."""

    def __init__(self, error):
        self.code = error.code()
        self.reason, self.retry_after, self.forbids_retry = None, None, False
        self.metadata = {}  # the values that go with the reason
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self._read(value)
        # Of the two, gRPC's own field (gRFC A6) decides. What is no number of milliseconds forbids a retry.
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-retry-pushback-ms":
                self.forbids_retry = not (value.isascii() and value.isdigit())
                self.retry_after = None if self.forbids_retry else int(value) / 1000

    def _read(self, value):
        for detail in status_pb2.Status.FromString(value).details:
            info, retry = details_pb2.ErrorInfo(), details_pb2.RetryInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(retry):
                self.retry_after = retry.retry_delay.ToTimedelta().total_seconds()

    @property
    def is_about_the_token(self):
        return self.reason in TOKEN_REASONS

    @property
    def may_repeat(self):
        """Whether the same call may succeed a little later."""
        if self.forbids_retry:
            return False
        # Without a time, it is a limit that waiting does not lift, such as that of the message size.
        is_limit = self.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        return self.code == grpc.StatusCode.UNAVAILABLE or (is_limit and self.retry_after is not None)

    @property
    def may_reopen(self):
        """Whether a stream that ended with it is worth opening again."""
        is_broken = self.reason is None and self.code in BROKEN
        is_limit = self.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        return self.code == grpc.StatusCode.UNAVAILABLE or is_limit or is_broken or self.reason == "ACCOUNT_SUSPENDED"


class Retries:
    """The waits and the retry budget that the calls of one connection share."""

    def __init__(self, clock=time.monotonic, sleep=time.sleep, jitter=random.random):
        self.clock, self.sleep, self.jitter = clock, sleep, jitter
        self._tokens, self._lock = float(MAX_TOKENS), threading.Lock()

    def answered(self):
        """Records an answer, which earns a part of a retry."""
        with self._lock:
            self._tokens = min(self._tokens + 1 / ANSWERS_PER_RETRY, MAX_TOKENS)

    def spend(self):
        """Records a failure that would be retried, and returns whether it may be (gRFC A6, retry throttling)."""
        with self._lock:
            self._tokens = max(self._tokens - 1, 0)
            return self._tokens > MAX_TOKENS / 2

    def wait(self, failed_attempts, requested=None, first=FIRST_DELAY, longest=MAX_DELAY):
        """Returns the seconds to wait after so many failures: a random time in the upper half of a doubling interval,
        or the wait that the market requested and a random part of up to half of it."""
        jitter = self.jitter()
        own = min(first * 2 ** min(failed_attempts - 1, 16), longest) * (0.5 + jitter / 2)
        if requested is None:
            return own
        spread = min(max(requested / 2, FIRST_DELAY), MAX_DELAY)
        return max(requested + spread * jitter, own)

    def wait_to_reopen(self, failures, failure):
        """Returns the seconds to wait before a stream is opened again. Without a failure, the market ended it."""
        if failure and failure.forbids_retry:
            failures = 64
        return self.wait(failures, failure and failure.retry_after, FIRST_RECONNECT, MAX_RECONNECT)


class Seen:
    """The ids of the last events that were handed over. An event that comes again is recognised by its id."""

    REMEMBERED = 1024

    def __init__(self):
        self._ids = {}

    def __contains__(self, event_id):
        return event_id in self._ids

    def __len__(self):
        return len(self._ids)

    def add(self, event_id):
        self._ids[event_id] = None
        while len(self._ids) > self.REMEMBERED:
            del self._ids[next(iter(self._ids))]  # the oldest
