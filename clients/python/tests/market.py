"""A scripted market, to test what the client does."""

import threading
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from shopping.v1 import account_service_pb2 as account
from shopping.v1 import account_service_pb2_grpc as account_grpc
from shopping.v1 import event_service_pb2 as event_pb2
from shopping.v1 import event_service_pb2_grpc as event_grpc


class Refusal(Exception):
    """An error as the market sends it."""

    def __init__(self, code, reason=None, retry_after=None, pushback=None):
        self.code, self.trailers = code, []
        status = status_pb2.Status(code=code.value[0], message="refused")
        if reason:
            status.details.append(_any(error_details_pb2.ErrorInfo(reason=reason, domain="shopping.v1")))
        if retry_after is not None:
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromMilliseconds(int(retry_after * 1000))
            status.details.append(_any(info))
        if status.details:
            self.trailers.append(("grpc-status-details-bin", status.SerializeToString()))
        if pushback is not None:
            self.trailers.append(("grpc-retry-pushback-ms", pushback))


class Market(account_grpc.AccountServiceServicer, event_grpc.EventServiceServicer):
    """Answers TestEvent after the errors in `refusals`, and Subscribe with the messages and errors in `streams`."""

    def __init__(self, pki):
        pki = Path(pki)
        self.changed = threading.Condition()
        self.token_life, self.oldest_token, self.issue_refused = 600.0, 1, None
        self.issuing = threading.Event()
        self.issuing.set()
        self.answering = threading.Event()
        self.answering.set()
        self.refusals, self.streams = [], []
        self.issued, self.calls, self.cursors, self.acknowledged = 0, [], [], []
        key, chain, authority = ((pki / name).read_bytes() for name in ("market.key", "market.pem", "ca.pem"))
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=128))
        account_grpc.add_AccountServiceServicer_to_server(self, self._server)
        event_grpc.add_EventServiceServicer_to_server(self, self._server)
        tls = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)
        self.address = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', tls)}"
        self._server.start()

    def close(self):
        self.issuing.set()
        self.answering.set()
        self._server.stop(grace=0).wait()

    def IssueToken(self, request, context):
        with self.changed:
            self.issued += 1
            number = self.issued
            self.changed.notify_all()
        self.issuing.wait()
        if self.issue_refused:
            _abort(context, self.issue_refused)
        answer = account.IssueTokenResponse(access_token=f"token-{number}")
        answer.issue_time.GetCurrentTime()
        answer.expire_time.FromNanoseconds(answer.issue_time.ToNanoseconds() + int(self.token_life * 1e9))
        return answer

    def TestEvent(self, request, context):
        self._authenticate(context)
        leaf = context.auth_context()["x509_pem_cert"][0]
        with self.changed:
            self.calls.append((request.request_id, context.time_remaining(), leaf))
            refusal = self.refusals.pop(0) if self.refusals else None
            self.changed.notify_all()
        self.answering.wait()
        if refusal:
            _abort(context, refusal)
        return event_pb2.TestEventResponse(event_id=request.request_id)

    def Subscribe(self, request, context):
        self._authenticate(context)
        with self.changed:
            self.cursors.append(request.cursor)
            script = self.streams.pop(0) if self.streams else []
            self.changed.notify_all()
        yield event_pb2.SubscribeResponse(opened=event_pb2.StreamOpened(kept=True))
        for message in script:
            if isinstance(message, Refusal):
                _abort(context, message)
            yield message
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait()

    def Acknowledge(self, request, context):
        self._authenticate(context)
        with self.changed:
            self.acknowledged.append(request.sequence)
            self.changed.notify_all()
        return event_pb2.AcknowledgeResponse()

    def _authenticate(self, context):
        bearer = dict(context.invocation_metadata()).get("authorization", "")
        if int(bearer.removeprefix("Bearer token-") or 0) < self.oldest_token:
            _abort(context, Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED"))


def event(sequence, event_id=None):
    return event_pb2.SubscribeResponse(event={"sequence": sequence, "event_id": event_id or f"event-{sequence}"})


def _abort(context, refusal):
    context.set_trailing_metadata(refusal.trailers)
    context.abort(refusal.code, "refused")


def _any(message):
    wrapped = any_pb2.Any()
    wrapped.Pack(message)
    return wrapped
