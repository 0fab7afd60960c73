"""The guarantees of docs/clients.md, one test for each. Needs SOUK_PKI, and GEN_CERTS for the renewal."""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from concurrent import futures
from pathlib import Path

import grpc
from market import Market, Refusal, event
from shopping.v1 import event_service_pb2 as event_pb2
from shopping.v1 import notification_service_pb2 as notification
from shopping.v1 import notification_service_pb2_grpc as notification_grpc

sys.path.insert(0, str(Path(__file__).parent.parent))
from retrying import MAX_ATTEMPTS, MAX_TOKENS, Retries, Seen  # noqa: E402
from souk import CHANNEL, TIMEOUT, Credentials, Inbox, Souk, new_request_id  # noqa: E402

PKI = Path(os.environ["SOUK_PKI"])
WITHIN = 20  # seconds for what happens within milliseconds
CODE = grpc.StatusCode


class Clock:
    """A clock that moves only while somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Guarantees(unittest.TestCase):
    def setUp(self):
        self.market = Market(PKI)
        self.addCleanup(self.market.close)
        self.clock = Clock()

    def connect(self, cert=PKI / "alice.pem", jitter=0.5):
        retries = Retries(clock=self.clock, sleep=self.clock.sleep, jitter=lambda: jitter)
        souk = Souk(cert, self.market.address, retries)
        self.addCleanup(souk.close)
        return souk

    def call(self, souk, **options):
        return souk.events.TestEvent(event_pb2.TestEventRequest(request_id=new_request_id()), **options)

    def until(self, condition):
        with self.market.changed:
            self.assertTrue(self.market.changed.wait_for(condition, WITHIN), "it did not happen in time")

    def refused(self, souk, code, **options):
        with self.assertRaises(grpc.RpcError) as raised:
            self.call(souk, **options)
        self.assertEqual(raised.exception.code(), code)

    def test_concurrent_first_calls_share_one_token(self):
        souk = self.connect()
        self.market.issuing.clear()
        with futures.ThreadPoolExecutor(50) as threads:
            calls = [threads.submit(self.call, souk) for _ in range(50)]
            self.until(lambda: self.market.issued)
            self.market.issuing.set()
            for call in calls:
                call.result(WITHIN)
        self.assertEqual((self.market.issued, len(self.market.calls)), (1, 50))

    def test_a_token_is_renewed_early_and_a_failed_renewal_fails_no_call(self):
        souk = self.connect(jitter=0.0)
        self.call(souk)
        self.clock.now = 399
        self.call(souk)
        self.assertEqual(self.market.issued, 1)
        self.market.issue_refused = Refusal(CODE.UNAVAILABLE, "UNAVAILABLE")
        self.clock.now = 401
        self.call(souk)
        self.call(souk)
        self.assertEqual(self.market.issued, 2, "there is a pause before the next attempt")
        self.market.issue_refused = None
        self.clock.now = 500
        self.call(souk)
        self.assertEqual(self.market.issued, 3)

    def test_a_voided_token_is_dropped_and_the_call_repeated_once(self):
        souk = self.connect()
        self.call(souk)
        self.market.oldest_token = 2
        self.call(souk)
        self.assertEqual(self.market.issued, 2)
        self.market.oldest_token = 1_000
        self.refused(souk, CODE.UNAUTHENTICATED)
        self.assertEqual(self.market.issued, 3)

    def test_a_stream_that_was_refused_voids_its_token_too(self):
        souk = self.connect()
        self.call(souk)
        self.market.oldest_token = 2
        self.market.streams.append([event(1)])
        self.assertEqual(next(souk.subscribe()).sequence, 1)

    def test_every_call_has_a_deadline(self):
        souk = self.connect()
        self.call(souk)
        # gRPC rounds the time that it sends.
        self.assertLess(self.market.calls[0][1], TIMEOUT + 1)
        self.market.answering.clear()
        self.refused(souk, CODE.DEADLINE_EXCEEDED, timeout=0.2)
        self.market.answering.set()
        self.market.issuing.clear()
        self.refused(self.connect(), CODE.DEADLINE_EXCEEDED, timeout=0.2)

    def test_a_failure_that_passes_is_repeated_with_the_same_request_id(self):
        souk = self.connect()
        self.market.refusals += [Refusal(CODE.UNAVAILABLE, "OUTCOME_UNKNOWN"), Refusal(CODE.UNAVAILABLE)]
        self.call(souk)
        self.assertEqual(len(self.market.calls), 3)
        self.assertEqual(len({request_id for request_id, _, _ in self.market.calls}), 1)
        self.market.refusals += [Refusal(CODE.UNAVAILABLE)] * 10
        self.refused(souk, CODE.UNAVAILABLE)
        self.assertEqual(len(self.market.calls), 3 + MAX_ATTEMPTS)

    def test_a_lasting_refusal_is_not_repeated(self):
        souk = self.connect()
        for code in CODE.FAILED_PRECONDITION, CODE.RESOURCE_EXHAUSTED, CODE.INTERNAL:
            self.market.calls, self.market.refusals = [], [Refusal(code)]
            self.refused(souk, code)
            self.assertEqual(len(self.market.calls), 1)

    def test_waits_grow_and_have_jitter(self):
        for jitter, expected in (0.0, [0.05, 0.1, 0.2, 0.4]), (1.0, [0.1, 0.2, 0.4, 0.8]):
            self.clock.slept = []
            self.market.refusals = [Refusal(CODE.UNAVAILABLE)] * 4
            self.call(self.connect(jitter=jitter))
            for slept, wait in zip(self.clock.slept, expected, strict=True):
                self.assertAlmostEqual(slept, wait)

    def test_the_markets_wait_is_kept_and_spread(self):
        overloaded = Refusal(CODE.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=1.0)
        pushed_back = Refusal(CODE.UNAVAILABLE, retry_after=9.0, pushback="3000")
        for jitter, refusal, wait in (0.0, overloaded, 1.0), (1.0, overloaded, 1.5), (0.0, pushed_back, 3.0):
            self.clock.slept, self.market.refusals = [], [refusal]
            self.call(self.connect(jitter=jitter))
            self.assertEqual(self.clock.slept, [wait])
        self.market.refusals = [Refusal(CODE.UNAVAILABLE, pushback="-1")]
        self.refused(self.connect(), CODE.UNAVAILABLE)
        self.market.refusals = [Refusal(CODE.RESOURCE_EXHAUSTED, retry_after=TIMEOUT + 1)]
        self.refused(self.connect(), CODE.RESOURCE_EXHAUSTED)

    def test_retries_end_with_the_budget(self):
        souk = self.connect()
        self.market.refusals = [Refusal(CODE.UNAVAILABLE)] * 1_000
        for _ in range(100):
            self.refused(souk, CODE.UNAVAILABLE, timeout=1_000)
        self.assertLess(len(self.market.calls) - 100, MAX_TOKENS / 2)
        for _ in range(MAX_TOKENS * 10):
            souk.retries.answered()
        self.market.refusals = [Refusal(CODE.UNAVAILABLE)]
        self.call(souk)

    def test_a_stream_that_breaks_goes_on_after_the_last_event(self):
        souk = self.connect()
        self.market.streams += [
            [event(3), event(5), Refusal(CODE.UNAVAILABLE)],
            [Refusal(CODE.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=40.0)],
            [event(9)],
        ]
        events = souk.subscribe()
        self.assertEqual([next(events).sequence for _ in range(3)], [3, 5, 9])
        self.assertEqual((self.market.cursors, self.market.acknowledged), ([0, 5, 5], [3, 5]))
        self.assertAlmostEqual(self.clock.slept[0], 0.1875)
        self.assertAlmostEqual(self.clock.slept[1], 41.0)
        self.market.streams.append([Refusal(CODE.PERMISSION_DENIED, "WRONG_ROLE")])
        events.close()
        with self.assertRaises(grpc.RpcError):
            next(souk.subscribe())

    def test_an_event_is_handed_over_once_and_memory_is_bounded(self):
        souk = self.connect()
        again = [event(1, "a"), event(2, "b")]
        self.market.streams += [[*again, Refusal(CODE.UNAVAILABLE)], [*again, event(3, "c")]]
        events = souk.subscribe()
        self.assertEqual([next(events).event_id for _ in range(3)], ["a", "b", "c"])
        seen = Seen()
        for number in range(Seen.REMEMBERED + 1):
            seen.add(str(number))
        self.assertEqual((len(seen), "0" in seen, "1" in seen), (Seen.REMEMBERED, False, True))

    def test_a_callback_is_processed_once_and_acknowledged_afterwards(self):
        taken, may_finish = queue.Queue(), threading.Event()

        def take(event):
            taken.put(event.event_id)
            may_finish.wait(WITHIN)

        inbox = self.open_inbox(take)
        notify = self.callback("market", inbox)
        calls = [notify.future(_batch(), timeout=WITHIN) for _ in range(3)]
        self.assertEqual(taken.get(timeout=WITHIN), "a")
        self.assertFalse(any(call.done() for call in calls))
        may_finish.set()
        self.assertEqual([call.result().acknowledged_sequence for call in calls], [2, 2, 2])
        self.assertEqual([taken.get(timeout=WITHIN), taken.qsize()], ["b", 0])

    def test_an_event_that_was_not_processed_comes_again(self):
        taken, faulty = [], {"b"}

        def take(event):
            if event.event_id in faulty:
                faulty.clear()
                raise RuntimeError("the disk is full")
            taken.append(event.event_id)

        inbox = self.open_inbox(take)
        notify = self.callback("market", inbox)
        self.assertEqual(notify(_batch(), timeout=WITHIN).acknowledged_sequence, 1)
        self.assertEqual(notify(_batch(), timeout=WITHIN).acknowledged_sequence, 2)
        self.assertEqual(taken, ["a", "b"])

    def test_only_the_market_may_call_back_and_only_with_own_events(self):
        inbox = self.open_inbox(lambda event: self.fail("nothing may arrive"))
        batch = notification.NotifyClientRequest(recipient_id=Credentials(PKI / "alice.pem").party_id)
        with self.assertRaises(grpc.RpcError) as raised:
            self.callback("carol", inbox)(batch, timeout=WITHIN)
        self.assertEqual(raised.exception.code(), CODE.PERMISSION_DENIED)
        batch.recipient_id = Credentials(PKI / "carol.pem").party_id
        with self.assertRaises(grpc.RpcError) as raised:
            self.callback("market", inbox)(batch, timeout=WITHIN)
        self.assertEqual(raised.exception.code(), CODE.INVALID_ARGUMENT)

    def test_a_renewed_certificate_is_used_by_both_sides(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        pki = shutil.copytree(PKI, folder / "pki")
        souk = self.connect(pki / "alice.pem")
        inbox = self.open_inbox(lambda event: None, pki / "alice.pem")
        self.call(souk)
        environment = {**os.environ, "SOUK_PKI": str(pki)}
        subprocess.run([os.environ["GEN_CERTS"], "renew", "alice"], env=environment, check=True, capture_output=True)
        renewed = (pki / "alice.pem").read_bytes()
        self.assertNotEqual(renewed, (PKI / "alice.pem").read_bytes())
        souk._look_again_at = 0.0
        self.call(souk)
        first, second = (leaf for _, _, leaf in self.market.calls)
        self.assertNotEqual(first, second)
        self.assertEqual(second, _leaf(renewed))
        batch = notification.NotifyClientRequest(recipient_id=souk.party_id)
        self.callback("market", inbox)(batch, timeout=WITHIN)
        port = f"127.0.0.1:{inbox.port}"
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", port, "-alpn", "h2", "-cert", PKI / "market.pem", "-key", PKI / "market.key"],
            input=b"", capture_output=True, timeout=WITHIN,
        ).stdout
        self.assertIn(_leaf(renewed), shown)

    def open_inbox(self, take, cert=PKI / "alice.pem"):
        inbox = Inbox(Credentials(cert), take)
        self.addCleanup(inbox.close)
        return inbox

    def callback(self, party, inbox):
        tls = grpc.ssl_channel_credentials(*((PKI / name).read_bytes() for name in ("ca.pem", f"{party}.key", f"{party}.pem")))
        name = f"{Credentials(PKI / 'alice.pem').party_id}.seller.souk.internal"
        options = [(key, name if key == "grpc.ssl_target_name_override" else value) for key, value in CHANNEL]
        channel = grpc.secure_channel(f"127.0.0.1:{inbox.port}", tls, options)
        self.addCleanup(channel.close)
        return notification_grpc.NotificationServiceStub(channel).NotifyClient


def _batch():
    """Returns a delivery of two events to alice."""
    return notification.NotifyClientRequest(
        recipient_id=Credentials(PKI / "alice.pem").party_id,
        events=[{"event_id": "a", "sequence": 1}, {"event_id": "b", "sequence": 2}],
    )


def _leaf(chain):
    """Returns the first certificate of a PEM file."""
    end = b"-----END CERTIFICATE-----\n"
    return chain[: chain.index(end) + len(end)]


if __name__ == "__main__":
    unittest.main()
