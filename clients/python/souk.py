"""A minimal client of a Souk market.

The certificate is the account: the channel presents it, `x-party-id` repeats its UUID, and the access token is
bound to it. README.md describes how to generate the stubs.
"""

import queue
import threading
import time
import uuid
from concurrent import futures
from pathlib import Path

import grpc
from cryptography import x509
from shopping.v1 import account_service_pb2 as account
from shopping.v1 import account_service_pb2_grpc as account_grpc
from shopping.v1 import buyer_service_pb2_grpc as buyer_grpc
from shopping.v1 import catalog_service_pb2_grpc as catalog_grpc
from shopping.v1 import event_service_pb2 as event
from shopping.v1 import event_service_pb2_grpc as event_grpc
from shopping.v1 import notification_service_pb2 as notification
from shopping.v1 import notification_service_pb2_grpc as notification_grpc
from shopping.v1 import party_pb2 as party
from shopping.v1 import seller_service_pb2_grpc as seller_grpc

MARKET = "market.souk.internal"
RENEW_AFTER = 2 / 3  # of a token's lifetime


class Credentials:
    """A certificate from gen-certs.sh, with its key and ca.pem in the same folder."""

    def __init__(self, cert):
        cert = Path(cert)
        self.chain = cert.read_bytes()
        self.key = cert.with_suffix(".key").read_bytes()
        self.authority = cert.with_name("ca.pem").read_bytes()
        names = x509.load_pem_x509_certificate(self.chain).extensions
        names = names.get_extension_for_class(x509.SubjectAlternativeName).value
        (spiffe_id,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        self.role, self.party_id = spiffe_id.split("/")[3:5]

    def channel(self, address):
        """Returns a channel to the market, which is verified by its identity, independent of its address."""
        tls = grpc.ssl_channel_credentials(self.authority, self.key, self.chain)
        return grpc.secure_channel(address, tls, [("grpc.ssl_target_name_override", MARKET)])

    def server(self):
        """Returns credentials for a callback server, which accept only certificates of the authority."""
        return grpc.ssl_server_credentials([(self.key, self.chain)], self.authority, require_client_auth=True)


class _Signed(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the account's UUID and a valid token to every call."""

    def __init__(self, souk):
        self.souk = souk

    def _with_metadata(self, details):
        metadata = list(details.metadata or []) + self.souk.metadata(details.method)
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, call, details, request):
        return call(self._with_metadata(details), request)

    def intercept_unary_stream(self, call, details, request):
        return call(self._with_metadata(details), request)

    def intercept_stream_unary(self, call, details, requests):
        return call(self._with_metadata(details), requests)

    def intercept_stream_stream(self, call, details, requests):
        return call(self._with_metadata(details), requests)


class Souk:
    """An open connection to a market; its services are attributes."""

    def __init__(self, cert, address):
        self.credentials = Credentials(cert)
        self.party_id = self.credentials.party_id
        self._token, self._renew_at, self._lock = None, 0.0, threading.Lock()
        self._channel = self.credentials.channel(address)
        channel = grpc.intercept_channel(self._channel, _Signed(self))
        self.accounts = account_grpc.AccountServiceStub(channel)
        self.catalog = catalog_grpc.CatalogServiceStub(channel)
        self.seller = seller_grpc.SellerServiceStub(channel)
        self.buyer = buyer_grpc.BuyerServiceStub(channel)
        self.events = event_grpc.EventServiceStub(channel)

    def metadata(self, method):
        signed = [("x-party-id", self.party_id)]
        if "/shopping.v1.AccountService/" not in method:
            signed.append(("authorization", f"Bearer {self._fresh_token()}"))
        return signed

    def _fresh_token(self):
        with self._lock:
            if time.monotonic() >= self._renew_at:
                issued = self.accounts.IssueToken(account.IssueTokenRequest())
                life = issued.expire_time.ToSeconds() - issued.issue_time.ToSeconds()
                self._token = issued.access_token
                self._renew_at = time.monotonic() + life * RENEW_AFTER
            return self._token

    def register(self, name, callback_port=None):
        """Registers the account or updates it. With a port, the market calls back at that port."""
        callback = party.CallbackAddress(port=callback_port) if callback_port else None
        if self.credentials.role == "seller":
            request, call = account.RegisterSellerRequest, self.accounts.RegisterSeller
        else:
            request, call = account.RegisterBuyerRequest, self.accounts.RegisterBuyer
        return call(request(request_id=new_request_id(), display_name=name, callback=callback)).account

    def subscribe(self, cursor=0):
        """Yields events as they arrive, and acknowledges each one when the next is requested. An event that
        the caller did not finish processing is therefore delivered again."""
        for message in self.events.Subscribe(event.SubscribeRequest(cursor=cursor)):
            if message.HasField("event"):
                yield message.event
                self.events.Acknowledge(event.AcknowledgeRequest(sequence=message.event.sequence))

    def close(self):
        self._channel.close()


class Inbox(notification_grpc.NotificationServiceServicer):
    """A callback server, which only the market may call. Puts each event into `queue` once."""

    def __init__(self, credentials, listen="127.0.0.1:0"):
        self.queue = queue.Queue(maxsize=1024)
        self._party_id, self._seen = credentials.party_id, set()
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
        for event in request.events:
            if event.event_id not in self._seen:
                self.queue.put(event, timeout=3)
                self._seen.add(event.event_id)
            last = event.sequence
        return notification.NotifyClientResponse(acknowledged_sequence=last)

    def close(self):
        self._server.stop(grace=1).wait()


def new_request_id():
    """Returns a new request id. A call that is retried with the same id takes effect once."""
    return str(uuid.uuid4())


