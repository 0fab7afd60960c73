// Sells a lantern: `sell.js MARKET CERT.pem NAME`. When the market calls back with an order, reduces the price.

import assert from "node:assert/strict";

import { Inbox } from "./inbox.js";
import { newRequestId, Souk } from "./souk.js";

const [market, cert, name] = process.argv.slice(2);
const pounds = (amount_minor) => ({ currency_code: "GBP", amount_minor });

const souk = new Souk(cert, market);
let receive;
const received = new Promise((resolve) => { receive = resolve; });
const inbox = new Inbox(souk.credentials, (event) => receive(event));
await souk.register("Carol", await inbox.listen());
const draft = { name, category: "home/light", unit_price: pounds(1250), quantity: 10 };
const { item } = await souk.call("SellerService", "SellItem", { request_id: newRequestId(), item: draft });

const { order } = (await received).order_placed;
assert.deepEqual([order.item_id, order.quantity], [item.item_id, 2]);
const cheaper = { request_id: newRequestId(), item_id: item.item_id, item: { unit_price: pounds(999) } };
await souk.call("SellerService", "UpdateItem", cheaper);
inbox.close();
souk.close();
console.log(`node: sold ${order.quantity} × ${order.item_name} to ${order.buyer_name}, and was called back: ok`);
