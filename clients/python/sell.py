"""Sells a lantern: `sell.py MARKET CERT.pem NAME`. When the market calls back with an order, reduces the price."""

import queue
import sys

from shopping.v1 import item_pb2 as item
from shopping.v1 import money_pb2 as money
from shopping.v1 import seller_service_pb2 as seller
from souk import Inbox, Souk, new_request_id


def pounds(amount_minor):
    return money.Money(currency_code="GBP", amount_minor=amount_minor)


def main(market, cert, name):
    souk = Souk(cert, market)
    events = queue.Queue()
    inbox = Inbox(souk.credentials, events.put)
    souk.register("Alice", callback_port=inbox.port)
    draft = item.ItemDraft(name=name, category="home/light", unit_price=pounds(1250), quantity=10)
    listed = souk.seller.SellItem(seller.SellItemRequest(request_id=new_request_id(), item=draft)).item

    event = events.get(timeout=60)
    order = event.order_placed.order
    assert (order.item_id, order.quantity) == (listed.item_id, 2), event
    cheaper = item.ItemDraft(unit_price=pounds(999))
    request = seller.UpdateItemRequest(request_id=new_request_id(), item_id=listed.item_id, item=cheaper)
    souk.seller.UpdateItem(request)
    inbox.close()
    souk.close()
    print(f"python: sold {order.quantity} × {order.item_name} to {order.buyer_name}, and was called back: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
