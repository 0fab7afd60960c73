"""Buys a lantern: `buy.py MARKET CERT.pem NAME`. Also wishes for it, and receives an event when its price drops."""

import sys

from shopping.v1 import buyer_service_pb2 as buyer
from shopping.v1 import catalog_service_pb2 as catalog
from souk import Souk, new_request_id


def find(souk, name):
    """Returns the first matching item, waiting until there is one."""
    for message in souk.catalog.WatchSearch(catalog.WatchSearchRequest(query=name)):
        if message.HasField("match"):
            return message.match
        if message.HasField("change"):
            return message.change.item


def main(market, cert, name):
    souk = Souk(cert, market)
    souk.register("Dave")
    lantern = find(souk, name)
    request = buyer.AddToWishlistRequest(request_id=new_request_id(), item_id=lantern.item_id)
    souk.buyer.AddToWishlist(request)
    request = buyer.BuyItemRequest(request_id=new_request_id(), item_id=lantern.item_id, quantity=2)
    order = souk.buyer.BuyItem(request).order
    assert order.total_price.amount_minor == 2500, order

    event = next(souk.subscribe())
    assert event.item_updated.previous_unit_price.amount_minor == 1250, event
    souk.close()
    print(f"python: bought order {order.order_id} from {order.seller_name}, and received the event on a stream: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
