// Joining with an invitation code. Needs CODE_BUYER and CODE_SELLER, of an authority that runs with its market, unless
// only the codes themselves are tested.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

import { decode, NotTheAuthority } from "../joining.js";
import { join } from "../souk.js";

const { CODE_BUYER, CODE_SELLER } = process.env;
const skip = !CODE_BUYER && "needs a market with an authority";

function base32(bytes) {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return bits.match(/.{1,5}/g).map((five) => "abcdefghijklmnopqrstuvwxyz234567"[parseInt(five.padEnd(5, "0"), 2)]).join("");
}

function code({ authority = "127.0.0.1:7442", domain = "", version = 1 } = {}) {
  const texts = [authority, domain].flatMap((text) => [Buffer.from([text.length]), Buffer.from(text)]);
  const fields = Buffer.concat([Buffer.from([version]), Buffer.alloc(8, "i"), Buffer.alloc(16, "s"), Buffer.alloc(16, "p"), ...texts]);
  return `souk1${base32(Buffer.concat([fields, createHash("sha256").update(fields).digest().subarray(0, 4)]))}`;
}

function home() {
  process.env.XDG_CONFIG_HOME = mkdtempSync(path.join(tmpdir(), "souk-"));
  return path.join(process.env.XDG_CONFIG_HOME, "souk");
}

test("a code is read with line breaks and in capitals", () => {
  const good = code();
  for (const text of [good, good.toUpperCase(), ` ${good.slice(0, 40)}\n${good.slice(40)}\n`]) {
    const { id, authority, domain } = decode(text);
    assert.deepEqual([id.toString(), authority, domain], ["iiiiiiii", "127.0.0.1:7442", "souk.internal"]);
  }
  assert.equal(decode(code({ domain: "example.org" })).domain, "example.org");
});

test("a damaged code is refused before anything is sent", () => {
  const good = code();
  for (let at = 5; at < good.length; at += 1) {
    const swapped = good[at] === "b" ? "c" : "b";
    assert.throws(() => decode(good.slice(0, at) + swapped + good.slice(at + 1)));
  }
  for (const text of ["", "hello", good.slice(0, -1), "souk1", code({ version: 2 })]) assert.throws(() => decode(text));
});

test("a folder that others may write to is refused before anything is sent", async () => {
  const folder = home();
  mkdirSync(folder);
  chmodSync(folder, 0o770);
  for (const given of [undefined, folder]) await assert.rejects(join(code(), { folder: given }), /others may write/);
  assert.deepEqual(readdirSync(folder), []);
});

test("a code brings an account and may be used again here", { skip }, async () => {
  const folder = home();
  const souk = await join(CODE_BUYER);
  const key = souk.credentials.cert.replace(/\.pem$/, ".key");
  assert.equal(statSync(key).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(path.join(folder, "joining")), []);
  souk.close();
  const again = await join(CODE_BUYER);
  assert.equal(again.credentials.partyId, souk.credentials.partyId);
  again.close();
});

test("another role than expected is refused and the code stays good", { skip }, async () => {
  const folder = path.join(home(), "shop");
  await assert.rejects(join(CODE_SELLER, { role: "buyer", folder }));
  const souk = await join(CODE_SELLER, { role: "seller", folder });
  assert.equal(souk.credentials.role, "seller");
  souk.close();
});

test("another authority gets nothing", { skip }, async () => {
  home();
  await assert.rejects(join(code({ authority: decode(CODE_BUYER).authority })), NotTheAuthority);
});
