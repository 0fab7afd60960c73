"""Imports a catalogue and counts it: `stock.py MARKET CERT.pem ITEMS`. Both calls stream one small message per item."""

import sys

from shopping.v1 import item_pb2 as item
from shopping.v1 import money_pb2 as money
from shopping.v1 import seller_service_pb2 as seller
from shopping.v1 import till_pb2 as till
from souk import Souk


def rows(count):
    yield seller.ImportItemsRequest(header=seller.ImportHeader())
    for line in range(1, count + 1):
        draft = item.ItemDraft(
            sku=f"P-{line}",
            name=f"Pebble {line}",
            category="garden",
            unit_price=money.Money(currency_code="GBP", amount_minor=5),
            quantity=1,
        )
        yield seller.ImportItemsRequest(row=seller.ImportRow(line=line, item=draft))


def lines(count):
    yield till.SyncInventoryRequest(hello=till.SyncHello(till="pebbles"))
    for line in range(1, count + 1):
        yield till.SyncInventoryRequest(line=till.SyncLine(line=line, sku=f"P-{line}", quantity_delta=1))


def main(market, cert, items):
    souk, count = Souk(cert, market), int(items)
    souk.register("Perry")
    done = souk.seller.ImportItems(rows(count))
    assert (done.created_count, done.failed_count) == (count, 0), done
    answers = [
        answer.acknowledgement for answer in souk.seller.SyncInventory(lines(count)) if answer.HasField("acknowledgement")
    ]
    assert [answer.line for answer in answers] == list(range(1, count + 1))
    assert all(answer.stock.quantity == 2 for answer in answers), answers[-1]
    souk.close()
    print(f"python: imported {count} items and counted them on a till's stream: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
