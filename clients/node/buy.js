// Buys a lantern: `buy.js MARKET CERT.pem NAME`. Also wishes for it, and receives an event on a stream when its price
// drops.

import assert from "node:assert/strict";

import { newRequestId, Souk } from "./souk.js";

const [market, cert, name] = process.argv.slice(2);

const souk = new Souk(cert, market);
await souk.register("Bob");

/** Returns the first matching item, waiting until there is one. */
async function find() {
  for await (const { match, change } of souk.stream("CatalogService", "WatchSearch", { query: name })) {
    if (match ?? change) return match ?? change.item;
  }
}

const lantern = await find();
const wanted = () => ({ request_id: newRequestId(), item_id: lantern.item_id });
await souk.call("BuyerService", "AddToWishlist", wanted());
const { order } = await souk.call("BuyerService", "BuyItem", { ...wanted(), quantity: 2 });
assert.equal(order.total_price.amount_minor, 2500);

for await (const event of souk.subscribe()) {
  assert.equal(event.item_updated.previous_unit_price.amount_minor, 1250);
  break;
}
souk.close();
console.log(`node: bought order ${order.order_id} from ${order.seller_name}, and received the event on a stream: ok`);
