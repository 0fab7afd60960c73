"""Ordinary habits of gRPC's own library that a market must bear:

habits.py many MARKET CERT.pem STREAMS ROWS    imports over many streams of one connection at once, one frame a row
habits.py idle MARKET CERT.pem SECONDS         receives a callback before and after a quiet time
"""

import queue
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
from shopping.v1 import event_service_pb2 as event
from shopping.v1 import item_pb2 as item
from shopping.v1 import money_pb2 as money
from shopping.v1 import seller_service_pb2 as seller

sys.path.insert(0, str(Path(__file__).parent.parent))
from retrying import Failure  # noqa: E402
from souk import Inbox, Souk, new_request_id  # noqa: E402

WITHIN = 120  # seconds, for all imports together


def rows(prefix, count):
    yield seller.ImportItemsRequest(header=seller.ImportHeader())
    price = money.Money(currency_code="GBP", amount_minor=5)
    for line in range(1, count + 1):
        draft = item.ItemDraft(sku=f"{prefix}{line}", name="r", category="g", unit_price=price, quantity=1)
        yield seller.ImportItemsRequest(row=seller.ImportRow(line=line, item=draft))


def many(souk, streams, count):
    """The market may ask some streams to come later, but must not end the connection."""
    deadline = time.monotonic() + WITHIN

    def load(stream):
        while True:
            try:
                done = souk.seller.ImportItems(rows(chr(ord("A") + stream), int(count)))
                break
            except grpc.RpcError as error:
                failure = Failure(error)
                if not failure.may_repeat or failure.code == grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(souk.retries.wait(1, failure.retry_after))
        assert done.created_count + done.unchanged_count == int(count), done

    with futures.ThreadPoolExecutor(int(streams)) as threads:
        for loading in [threads.submit(load, stream) for stream in range(int(streams))]:
            loading.result()
    print(f"python: {streams} imports of {count} rows at once over one connection: ok")


def idle(souk, seconds):
    """Each callback comes once, and at the first attempt. (The connection may be another one: the market drops all of
    them when it loads a new revocation list, as the other steps of the tests make it do.)"""
    deliveries = queue.Queue()

    class Counting(Inbox):
        def NotifyClient(self, request, context):
            for event in request.events:
                deliveries.put(event.test_notice.text)
            return super().NotifyClient(request, context)

    inbox = Counting(souk.credentials, lambda event: None)
    souk.register("Ida", callback_port=inbox.port)
    for text in "before", "after":
        souk.events.TestEvent(event.TestEventRequest(request_id=new_request_id(), text=text))
        delivered = deliveries.get(timeout=60)
        assert delivered == text, delivered
        if text == "before":
            try:
                raise AssertionError(f"an event came twice: {deliveries.get(timeout=int(seconds))}")
            except queue.Empty:
                pass
    mailbox = souk.events.MailboxStatus(event.MailboxStatusRequest())
    assert deliveries.empty() and mailbox.failure_count == 0, mailbox
    inbox.close()
    print(f"python: callbacks before and after {seconds} s without a call: ok")


if __name__ == "__main__":
    habit, market, cert, *numbers = sys.argv[1:]
    connection = Souk(cert, market)
    if habit == "many":
        connection.register("Quinn")
    {"many": many, "idle": idle}[habit](connection, *numbers)
    connection.close()
