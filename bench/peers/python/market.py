"""A classic in-memory market in Python, as a peer for `bench compare`.

It speaks the contract of proto/shopping/v1 over mutual TLS with grpcio: one server with a pool of threads, dictionaries and
one lock. It checks identities, tokens, stock and repeated requests as a market must, and keeps nothing: no disk, no events.

    PYTHONPATH=STUBS python market.py FOLDER

FOLDER is a pki folder of gen-certs. The address on which it listens is printed on standard output.
"""

import secrets
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from shopping.v1 import account_service_pb2 as account
from shopping.v1 import account_service_pb2_grpc as account_grpc
from shopping.v1 import buyer_service_pb2 as buyer
from shopping.v1 import buyer_service_pb2_grpc as buyer_grpc
from shopping.v1 import item_pb2, money_pb2, order_pb2, party_pb2
from shopping.v1 import seller_service_pb2 as seller
from shopping.v1 import seller_service_pb2_grpc as seller_grpc

TOKEN_LIFE = 600.0  # seconds
THREADS = 10


def now():
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


class Shop:
    """Everything that the market knows, behind one lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.parties, self.tokens = {}, {}
        self.items, self.orders, self.outcomes = {}, {}, {}

    def certified(self, context):
        """Returns role and id of the caller, which its certificate and its metadata must agree on."""
        names = context.auth_context().get("x509_subject_alternative_name", [])
        ids = [name.decode() for name in names if name.startswith(b"spiffe://")]
        metadata = dict(context.invocation_metadata())
        role, _, party = ids[0].removeprefix("spiffe://").partition("/")[2].partition("/") if ids else ("", "", "")
        if not party or metadata.get("x-party-id") != party:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "x-party-id must be the UUID of the certificate")
        return role, party

    def caller(self, context, wanted=None):
        """Returns the id of a registered caller with a valid token."""
        role, party = self.certified(context)
        token = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
        owner, end = self.tokens.get(token, ("", 0.0))
        if owner != party or end < time.monotonic():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "get a token by IssueToken")
        if wanted and role != wanted:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"only a {wanted} may do this")
        return party

    def once(self, party, request, act):
        """Carries out a request with an id once. A repeated one gets the first outcome."""
        with self.lock:
            key = (party, request.request_id)
            if request.request_id and key in self.outcomes:
                return self.outcomes[key]
            outcome = act()
            if request.request_id and not request.validate_only:
                self.outcomes[key] = outcome
            return outcome


class Accounts(account_grpc.AccountServiceServicer):
    def __init__(self, shop):
        self.shop = shop

    def register(self, request, context, role):
        own_role, party = self.shop.certified(context)
        if own_role != role:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"this is not the certificate of a {role}")
        number = party_pb2.ROLE_SELLER if role == "seller" else party_pb2.ROLE_BUYER
        with self.shop.lock:
            known = party_pb2.Account(party_id=party, role=number, display_name=request.display_name, register_time=now())
            return self.shop.parties.setdefault(party, known)

    def RegisterSeller(self, request, context):
        return account.RegisterSellerResponse(account=self.register(request, context, "seller"))

    def RegisterBuyer(self, request, context):
        return account.RegisterBuyerResponse(account=self.register(request, context, "buyer"))

    def IssueToken(self, request, context):
        _, party = self.shop.certified(context)
        if party not in self.shop.parties:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "register first")
        token, issued = secrets.token_urlsafe(32), now()
        self.shop.tokens[token] = (party, time.monotonic() + TOKEN_LIFE)
        end = Timestamp(seconds=issued.seconds + int(TOKEN_LIFE))
        return account.IssueTokenResponse(access_token=token, issue_time=issued, expire_time=end)


class Sellers(seller_grpc.SellerServiceServicer):
    def __init__(self, shop):
        self.shop = shop

    def SellItem(self, request, context):
        shop, party, draft = self.shop, self.shop.caller(context, "seller"), request.item
        if not draft.name or draft.quantity < 0 or draft.unit_price.amount_minor <= 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "an item needs a name, a price and a quantity")

        def list_item():
            item = item_pb2.Item(
                item_id=len(shop.items) + 1, seller_id=party, seller_name=shop.parties[party].display_name,
                name=draft.name, description=draft.description, category=draft.category, unit_price=draft.unit_price,
                quantity=draft.quantity, version=1, create_time=now(), update_time=now(),
            )
            shop.items[item.item_id] = item
            return seller.SellItemResponse(item=item)

        return shop.once(party, request, list_item)


class Buyers(buyer_grpc.BuyerServiceServicer):
    def __init__(self, shop):
        self.shop = shop

    def BuyItem(self, request, context):
        shop, party = self.shop, self.shop.caller(context, "buyer")

        def buy():
            item = shop.items.get(request.item_id)
            if item is None:
                context.abort(grpc.StatusCode.NOT_FOUND, "there is no such item")
            if request.quantity < 1 or item.quantity < request.quantity:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"only {item.quantity} are left")
            item.quantity -= request.quantity
            item.version += 1
            price = item.unit_price
            order = order_pb2.Order(
                order_id=len(shop.orders) + 1, buyer_id=party, buyer_name=shop.parties[party].display_name,
                seller_id=item.seller_id, seller_name=item.seller_name, item_id=item.item_id, item_name=item.name,
                unit_price=price, quantity=request.quantity, status=order_pb2.ORDER_STATUS_PLACED, place_time=now(),
                total_price=money_pb2.Money(
                    amount_minor=price.amount_minor * request.quantity, currency_code=price.currency_code
                ),
            )
            shop.orders[order.order_id] = order
            return buyer.BuyItemResponse(order=order)

        return shop.once(party, request, buy)


def main():
    folder, shop = Path(sys.argv[1]), Shop()
    key, chain, authority = ((folder / name).read_bytes() for name in ("market.key", "market.pem", "ca.pem"))
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=THREADS))
    account_grpc.add_AccountServiceServicer_to_server(Accounts(shop), server)
    seller_grpc.add_SellerServiceServicer_to_server(Sellers(shop), server)
    buyer_grpc.add_BuyerServiceServicer_to_server(Buyers(shop), server)
    credentials = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
