"""A client of a Souk market.

The certificate is the account: the channel presents it, `x-party-id` repeats its UUID, and the access token is
bound to it. README.md describes how to generate the stubs, docs/clients.md what the client guarantees.
"""

import logging
import threading
import time
import uuid
from concurrent import futures
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joining import Invitation, NotTheAuthority
from joining import join as redeem
from retrying import MAX_ATTEMPTS, Failure, Retries, Seen
from shopping.v1 import account_service_pb2 as account
from shopping.v1 import account_service_pb2_grpc as account_grpc
from shopping.v1 import buyer_service_pb2_grpc as buyer_grpc
from shopping.v1 import catalog_service_pb2_grpc as catalog_grpc
from shopping.v1 import event_service_pb2 as event_pb2
from shopping.v1 import event_service_pb2_grpc as event_grpc
from shopping.v1 import notification_service_pb2 as notification
from shopping.v1 import notification_service_pb2_grpc as notification_grpc
from shopping.v1 import party_pb2 as party
from shopping.v1 import seller_service_pb2_grpc as seller_grpc

TIMEOUT = 10.0  # seconds for a call with its retries, and for the opening of a stream of events
RELOAD_EVERY = 0.5  # seconds between checks of the certificate's files
IMPORT_TIMEOUT = 3600.0  # seconds for a call that sends a stream
__all__ = ["Credentials", "Inbox", "Invitation", "NotTheAuthority", "Souk", "join", "new_request_id"]
CHANNEL = [
    # The market is verified by its identity, independent of its address.
    ("grpc.ssl_target_name_override", "market.souk.internal"),
    # A connection attempt that gets no answer is repeated soon, and a dead connection is noticed on quiet streams too.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]
log = logging.getLogger("souk")


class Credentials:
    """A certificate from gen-certs.sh or `join`, with its key and ca.pem in the same folder."""

    def __init__(self, cert):
        self.files = [Path(cert), Path(cert).with_suffix(".key"), Path(cert).with_name("ca.pem")]
        self._stamp = self._state_of_files()
        self.chain, self.key, self.authority = (file.read_bytes() for file in self.files)
        leaf = x509.load_pem_x509_certificate(self.chain)
        if serialization.load_pem_private_key(self.key, None).public_key() != leaf.public_key():
            raise ValueError(f"{self.files[1]} is not the key of {cert}")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (spiffe_id,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        self.domain, self.role, self.party_id = spiffe_id.split("/")[2:5]

    def renewed(self):
        """Returns new credentials if the files have changed, otherwise None. Files that are being replaced, or are of
        another party, are left for the next time."""
        try:
            if self._state_of_files() == self._stamp:
                return None
            renewed = Credentials(self.files[0])
        except (OSError, ValueError) as error:
            log.warning("the changed certificate is not usable yet: %s", error)
            return None
        return renewed if renewed.party_id == self.party_id else None

    def channel(self, address):
        """Returns a channel to the market."""
        credentials = grpc.ssl_channel_credentials(self.authority, self.key, self.chain)
        market = ("grpc.ssl_target_name_override", f"market.{self.domain}")
        return grpc.secure_channel(address, credentials, [market, *CHANNEL[1:]])

    def server(self):
        """Returns credentials for a callback server, which accept only certificates of the authority. A renewed
        certificate is used from the next connection on."""
        current = self

        def fetch():
            nonlocal current
            renewed = current.renewed()
            current = renewed or current
            return renewed and renewed._configuration()

        return grpc.dynamic_ssl_server_credentials(self._configuration(), fetch, require_client_authentication=True)

    def _configuration(self):
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authority)

    def _state_of_files(self):
        return [(status.st_mtime_ns, status.st_ino) for status in (file.stat() for file in self.files)]


class _Tokens:
    """Keeps an access token. Callers that need one at the same time share one IssueToken."""

    RENEW_AFTER = (2 / 3, 3 / 4)  # of its lifetime; in between at random
    FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0  # seconds after a renewal that failed

    def __init__(self, issue, retries):
        self._issue, self._retries, self._lock = issue, retries, threading.Lock()
        self._token, self._renew_at, self._end = None, 0.0, 0.0
        self._fetch, self._failures = None, 0

    def get(self, timeout):
        with self._lock:
            now = self._retries.clock()
            usable = self._token if now < self._end else None
            if usable and (now < self._renew_at or self._fetch):
                return usable
            fetch, is_ours = self._fetch, not self._fetch
            if is_ours:
                fetch = self._fetch = futures.Future()
        if is_ours:
            # In a thread of its own, so that a caller with an early deadline does not end it for the others.
            threading.Thread(target=self._run, args=(fetch,), daemon=True).start()
        try:
            return fetch.result(timeout)
        except (grpc.RpcError, futures.TimeoutError) as error:
            if usable:  # a renewal that failed must not fail the call
                return usable
            raise error if isinstance(error, grpc.RpcError) else TimedOut() from None

    def forget(self, refused):
        """Drops a token that the market refused, unless it has been replaced meanwhile."""
        with self._lock:
            if self._token == refused:
                self._token, self._end = None, 0.0

    def drop(self):
        """Drops the token, because it is bound to a certificate that is no longer used."""
        with self._lock:
            self._token, self._end = None, 0.0

    def _run(self, fetch):
        asked = self._retries.clock()
        try:
            issued = self._issue()
        except BaseException as error:
            with self._lock:
                self._fetch, self._failures = None, self._failures + 1
                wait = self._retries.wait(self._failures, None, self.FIRST_PAUSE, self.MAX_PAUSE)
                self._renew_at = self._retries.clock() + wait
            fetch.set_exception(error)
            return
        life = issued.expire_time.ToNanoseconds() / 1e9 - issued.issue_time.ToNanoseconds() / 1e9
        early, late = self.RENEW_AFTER
        with self._lock:
            self._fetch, self._failures, self._token = None, 0, issued.access_token
            self._renew_at = asked + life * (early + (late - early) * self._retries.jitter())
            self._end = asked + life
        fetch.set_result(issued.access_token)


class TimedOut(grpc.RpcError):
    """The call's deadline passed before there was a token."""

    def code(self):
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self):
        return "no token in time"

    def trailing_metadata(self):
        return ()


class _Calls(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Gives every call the account's UUID, a token and a deadline, and repeats what may be repeated."""

    def __init__(self, souk):
        self.souk = souk

    def intercept_unary_unary(self, call, details, request):
        souk, retries = self.souk, self.souk.retries
        deadline = retries.clock() + (details.timeout or TIMEOUT)
        failed_attempts, is_replayed = 0, False
        while True:
            left = max(deadline - retries.clock(), 0.001)
            try:
                signed, token = self._signed(details, left)
                outcome = call(signed._replace(timeout=left), request)
            except grpc.RpcError as error:  # IssueToken failed
                outcome, token = error, None
            if outcome.code() == grpc.StatusCode.OK:
                retries.answered()
                return outcome
            failure = self._examine(outcome, token)
            if failure.is_about_the_token and token and not is_replayed:
                is_replayed = True
                continue
            if not failure.may_repeat:
                if failure.reason:
                    retries.answered()
                return self._finished(outcome)
            failed_attempts += 1
            is_within_budget = retries.spend()
            wait = retries.wait(failed_attempts, failure.retry_after)
            if not is_within_budget or failed_attempts == MAX_ATTEMPTS or retries.clock() + wait >= deadline:
                return self._finished(outcome)
            retries.sleep(wait)

    def intercept_unary_stream(self, call, details, request):
        signed, token = self._signed(details, TIMEOUT)
        return self._watched(call(signed, request), token)

    def intercept_stream_unary(self, call, details, requests):
        signed, token = self._signed(details, TIMEOUT)
        outcome = call(signed._replace(timeout=details.timeout or IMPORT_TIMEOUT), requests)
        if outcome.code() != grpc.StatusCode.OK:
            self._examine(outcome, token)
        return outcome

    def intercept_stream_stream(self, call, details, requests):
        signed, token = self._signed(details, TIMEOUT)
        return self._watched(call(signed, requests), token)

    def _signed(self, details, timeout):
        token, metadata = None, [*(details.metadata or ()), ("x-party-id", self.souk.party_id)]
        if "/shopping.v1.AccountService/" not in details.method:
            token = self.souk._tokens.get(timeout)
            metadata.append(("authorization", f"Bearer {token}"))
        return details._replace(metadata=metadata), token

    def _examine(self, outcome, token):
        failure = Failure(outcome)
        if failure.code == grpc.StatusCode.UNAUTHENTICATED and token:
            self.souk._tokens.forget(token)
        return failure

    def _watched(self, stream, token):
        # A stream can't be repeated here, but the next call must not use a token that was refused.
        stream.add_callback(lambda: stream.code() == grpc.StatusCode.OK or self._examine(stream, token))
        # For `subscribe`: gRPC calls back in a thread of its own, maybe after the error was raised.
        stream.token = token
        return stream

    @staticmethod
    def _finished(outcome):
        if isinstance(outcome, TimedOut):
            raise outcome
        return outcome


class _Service:
    """A service of the market, as an attribute of `Souk`."""

    def __init__(self, stub):
        self._stub = stub

    def __get__(self, souk, _owner):
        return souk._client(self._stub)


class Souk:
    """A connection to a market; its services are attributes. Get the attribute for each call: after the certificate
    was renewed, it uses a new connection."""

    accounts = _Service(account_grpc.AccountServiceStub)
    catalog = _Service(catalog_grpc.CatalogServiceStub)
    seller = _Service(seller_grpc.SellerServiceStub)
    buyer = _Service(buyer_grpc.BuyerServiceStub)
    events = _Service(event_grpc.EventServiceStub)

    def __init__(self, cert, address, retries=None):
        self.credentials, self._address = Credentials(cert), address
        self.party_id = self.credentials.party_id
        self.retries = retries or Retries()
        self._tokens = _Tokens(self._issue, self.retries)
        self._lock, self._channels, self._look_again_at = threading.Lock(), [], 0.0
        self._signing, self._clients = None, {}

    def register(self, name, callback_port=None):
        """Registers the account or updates it. With a port, the market calls back at that port."""
        callback = party.CallbackAddress(port=callback_port) if callback_port else None
        if self.credentials.role == "seller":
            request, call = account.RegisterSellerRequest, self.accounts.RegisterSeller
        else:
            request, call = account.RegisterBuyerRequest, self.accounts.RegisterBuyer
        return call(request(request_id=new_request_id(), display_name=name, callback=callback)).account

    def subscribe(self, cursor=0):
        """Yields each event once, and acknowledges it when the next is requested. An event that the caller did not
        finish processing is therefore delivered again. A stream that breaks is opened again after the last event."""
        seen, failures, is_replayed = Seen(), 0, False
        while True:
            stream = self.events.Subscribe(event_pb2.SubscribeRequest(cursor=cursor))
            # Until the first message, which the market sends at once. The keep-alive watches a quiet stream.
            opening = threading.Timer(TIMEOUT, stream.cancel)
            opening.daemon = True
            opening.start()
            try:
                for message in stream:
                    opening.cancel()
                    failures, is_replayed = 0, False
                    if not message.HasField("event"):
                        continue
                    if message.event.event_id not in seen:
                        yield message.event
                        seen.add(message.event.event_id)
                    cursor = max(cursor, message.event.sequence)
                    self._acknowledge(cursor)
                failure = None
            except grpc.RpcError as error:
                failure = Failure(error)
                if failure.is_about_the_token and not is_replayed:
                    self._tokens.forget(stream.token)
                    is_replayed = True
                    continue
                if not failure.may_reopen:
                    raise
            finally:
                opening.cancel()
                stream.cancel()
            failures += 1
            wait = self.retries.wait_to_reopen(failures, failure)
            log.info("the stream of events broke; opening it again in %.1f s", wait)
            self.retries.sleep(wait)

    def close(self):
        with self._lock:
            for channel in self._channels:
                channel.close()

    def _acknowledge(self, sequence):
        try:
            self.events.Acknowledge(event_pb2.AcknowledgeRequest(sequence=sequence))
        except grpc.RpcError as error:
            # The next acknowledgement, or the cursor of the next stream, includes it.
            log.info("an acknowledgement failed: %s", error.code())

    def _issue(self):
        # Without the interceptor: the calls that wait for the token are repeated already.
        accounts = account_grpc.AccountServiceStub(self._channels[-1])
        return accounts.IssueToken(account.IssueTokenRequest(), timeout=TIMEOUT, metadata=[("x-party-id", self.party_id)])

    def _client(self, stub):
        with self._lock:
            now = time.monotonic()
            is_due = now >= self._look_again_at
            if is_due:
                self._look_again_at = now + RELOAD_EVERY
            if not self._channels or (is_due and self._renew()):
                # Earlier channels stay open, since streams use them.
                self._channels.append(self.credentials.channel(self._address))
                self._tokens.drop()
                self._signing, self._clients = grpc.intercept_channel(self._channels[-1], _Calls(self)), {}
            if stub not in self._clients:
                self._clients[stub] = stub(self._signing)
            return self._clients[stub]

    def _renew(self):
        renewed = self.credentials.renewed()
        self.credentials = renewed or self.credentials
        return renewed is not None


class Inbox(notification_grpc.NotificationServiceServicer):
    """A callback server, which only the market may call. Passes each event to `take` once, one at a time, and
    acknowledges it when `take` returns. If `take` raises, the event is delivered again later."""

    def __init__(self, credentials, take, listen="127.0.0.1:0"):
        self._party_id, self._take = credentials.party_id, take
        self._seen, self._lock = Seen(), threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        notification_grpc.add_NotificationServiceServicer_to_server(self, self._server)
        self.port = self._server.add_secure_port(listen, credentials.server())
        self._server.start()

    def NotifyClient(self, request, context):
        names = context.auth_context().get("x509_subject_alternative_name", [])
        if not any(name.startswith(b"spiffe://") and name.endswith(b"/market") for name in names):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "only the market may call a callback")
        if request.recipient_id != self._party_id:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "these events are for somebody else")
        last = 0
        # A delivery that is repeated while the first is being processed waits for it, and then finds its events here.
        with self._lock:
            for event in request.events:
                if event.event_id not in self._seen:
                    try:
                        self._take(event)
                    except Exception:
                        log.exception("event %s was not processed", event.event_id)
                        break
                    self._seen.add(event.event_id)
                last = event.sequence
        if not last and request.events:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the event was not processed; try again later")
        return notification.NotifyClientResponse(acknowledged_sequence=last)

    def close(self):
        self._server.stop(grace=1).wait()


def join(code, role=None, folder=None, display_name=None, retries=None):
    """Joins a market with an invitation code, and registers there. Returns a `Souk`.

    `joining.join` says where the files are. Call it again with the same code after an error."""
    cert, markets, name = redeem(code, role, folder)
    if not markets:
        raise ValueError(f"the authority names no market: use Souk({str(cert)!r}, 'HOST:PORT')")
    souk = Souk(cert, markets[0], retries)
    if souk.credentials.role != "operator":
        souk.register(display_name or name)
    return souk


def new_request_id():
    """Returns a new request id. A call that is retried with the same id takes effect once."""
    return str(uuid.uuid4())
