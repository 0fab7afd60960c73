// The guarantees of docs/clients.md, one test for each. Needs SOUK_PKI, and GEN_CERTS for the renewal.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import tls from "node:tls";

import grpc from "@grpc/grpc-js";

import { Inbox } from "../inbox.js";
import { MAX_ATTEMPTS, MAX_TOKENS, Retries, Seen } from "../retrying.js";
import { CHANNEL, Credentials, newRequestId, shopping, Souk, TIMEOUT } from "../souk.js";
import { event, Market, refusal } from "./market.js";

const PKI = process.env.SOUK_PKI;
const pem = (party) => path.join(PKI, `${party}.pem`);
const { DEADLINE_EXCEEDED, FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED,
  UNAUTHENTICATED, UNAVAILABLE } = grpc.status;

/** Runs a test with a market, and a clock that moves only while somebody sleeps. */
function guarantee(name, body) {
  test(name, { timeout: 60_000 }, async (context) => {
    const market = await new Market().open(PKI);
    context.after(() => market.close());
    const clock = { now: 0, slept: [] };
    const sleep = async (milliseconds) => { clock.slept.push(milliseconds); clock.now += milliseconds; };
    const connect = ({ cert = pem("alice"), jitter = 0.5 } = {}) => {
      const souk = new Souk(cert, market.address, new Retries({ now: () => clock.now, sleep, jitter: () => jitter }));
      context.after(() => souk.close());
      return souk;
    };
    await body({ market, clock, connect, context });
  });
}

const call = (souk, ...options) => souk.call("EventService", "TestEvent", { request_id: newRequestId() }, ...options);
const refused = (promise, code) => assert.rejects(promise, { code });

/** Returns the first events of a subscription, as `of` describes them, and keeps it open. */
async function take(events, count, of) {
  const taken = [];
  while (taken.length < count) taken.push(of((await events.next()).value));
  return taken;
}

guarantee("concurrent first calls share one token", async ({ market, connect }) => {
  const souk = connect();
  market.isIssuing = false;
  const calls = Array.from({ length: 50 }, () => call(souk));
  await market.until(() => market.issued > 0);
  market.release();
  await Promise.all(calls);
  assert.deepEqual([market.issued, market.calls.length], [1, 50]);
});

guarantee("a token is renewed early and a failed renewal fails no call", async ({ market, clock, connect }) => {
  const souk = connect({ jitter: 0 });
  await call(souk);
  clock.now = 399_000;
  await call(souk);
  assert.equal(market.issued, 1);
  market.issueRefused = refusal(UNAVAILABLE, { reason: "UNAVAILABLE" });
  clock.now = 401_000;
  await call(souk);
  await call(souk);
  assert.equal(market.issued, 2, "there is a pause before the next attempt");
  market.issueRefused = undefined;
  clock.now = 500_000;
  await call(souk);
  assert.equal(market.issued, 3);
});

guarantee("a voided token is dropped and the call repeated once", async ({ market, connect }) => {
  const souk = connect();
  await call(souk);
  market.oldestToken = 2;
  await call(souk);
  assert.equal(market.issued, 2);
  market.oldestToken = 1_000;
  await refused(call(souk), UNAUTHENTICATED);
  assert.equal(market.issued, 3);
});

guarantee("a stream that was refused voids its token too", async ({ market, connect }) => {
  const souk = connect();
  await call(souk);
  market.oldestToken = 2;
  market.streams.push([event(1)]);
  const events = souk.subscribe();
  assert.deepEqual(await take(events, 1, ({ sequence }) => sequence), [1]);
  await events.return();
});

guarantee("every call has a deadline", async ({ market, connect }) => {
  const souk = connect();
  await call(souk);
  assert.ok(market.calls[0].left <= TIMEOUT, `${market.calls[0].left}`);
  market.isAnswering = false;
  await refused(call(souk, 200), DEADLINE_EXCEEDED);
  market.release();
  market.isIssuing = false;
  await refused(call(connect(), 200), DEADLINE_EXCEEDED);
});

guarantee("a failure that passes is repeated with the same request id", async ({ market, connect }) => {
  const souk = connect();
  market.refusals = [refusal(UNAVAILABLE, { reason: "OUTCOME_UNKNOWN" }), refusal(UNAVAILABLE)];
  await call(souk);
  assert.equal(market.calls.length, 3);
  assert.equal(new Set(market.calls.map(({ id }) => id)).size, 1);
  market.refusals = Array.from({ length: 10 }, () => refusal(UNAVAILABLE));
  await refused(call(souk), UNAVAILABLE);
  assert.equal(market.calls.length, 3 + MAX_ATTEMPTS);
});

guarantee("a lasting refusal is not repeated", async ({ market, connect }) => {
  const souk = connect();
  for (const code of [FAILED_PRECONDITION, RESOURCE_EXHAUSTED, INTERNAL]) {
    [market.calls, market.refusals] = [[], [refusal(code)]];
    await refused(call(souk), code);
    assert.equal(market.calls.length, 1);
  }
});

guarantee("waits grow and have jitter", async ({ market, clock, connect }) => {
  for (const [jitter, expected] of [[0, [50, 100, 200, 400]], [1, [100, 200, 400, 800]]]) {
    clock.slept = [];
    market.refusals = Array.from({ length: 4 }, () => refusal(UNAVAILABLE));
    await call(connect({ jitter }));
    assert.deepEqual(clock.slept, expected);
  }
});

guarantee("the market's wait is kept and spread", async ({ market, clock, connect }) => {
  const overloaded = refusal(RESOURCE_EXHAUSTED, { reason: "OVERLOADED", retryAfter: 1_000 });
  const pushedBack = refusal(UNAVAILABLE, { retryAfter: 9_000, pushback: "3000" });
  for (const [jitter, refusal_, wait] of [[0, overloaded, 1_000], [1, overloaded, 1_500], [0, pushedBack, 3_000]]) {
    [clock.slept, market.refusals] = [[], [refusal_]];
    await call(connect({ jitter }));
    assert.deepEqual(clock.slept, [wait]);
  }
  market.refusals = [refusal(UNAVAILABLE, { pushback: "-1" })];
  await refused(call(connect()), UNAVAILABLE);
  market.refusals = [refusal(RESOURCE_EXHAUSTED, { retryAfter: TIMEOUT + 1 })];
  await refused(call(connect()), RESOURCE_EXHAUSTED);
});

guarantee("retries end with the budget", async ({ market, connect }) => {
  const souk = connect();
  market.refusals = Array.from({ length: 1_000 }, () => refusal(UNAVAILABLE));
  for (let number = 0; number < 100; number += 1) await refused(call(souk, 1_000_000), UNAVAILABLE);
  assert.equal(market.calls.length - 100, MAX_TOKENS / 2 - 10, "a call's last attempt takes a token too");
  for (let answer = 0; answer < MAX_TOKENS * 10; answer += 1) souk.retries.answered();
  market.refusals = [refusal(UNAVAILABLE)];
  await call(souk);
});

guarantee("a stream that breaks goes on after the last event", async ({ market, clock, connect }) => {
  const souk = connect();
  market.streams = [
    [event(3), event(5), refusal(UNAVAILABLE)],
    [refusal(RESOURCE_EXHAUSTED, { reason: "OVERLOADED", retryAfter: 40_000 })],
    [event(9)],
  ];
  const events = souk.subscribe();
  assert.deepEqual(await take(events, 3, ({ sequence }) => sequence), [3, 5, 9]);
  assert.deepEqual([market.cursors, market.acknowledged], [[0, 5, 5], [3, 5]]);
  assert.deepEqual(clock.slept, [187.5, 41_000]);
  await events.return();
  market.streams = [[refusal(PERMISSION_DENIED, { reason: "WRONG_ROLE" })]];
  await refused(souk.subscribe().next(), PERMISSION_DENIED);
});

guarantee("an event is handed over once and memory is bounded", async ({ market, connect }) => {
  const again = [event(1, "a"), event(2, "b")];
  market.streams = [[...again, refusal(UNAVAILABLE)], [...again, event(3, "c")]];
  const events = connect().subscribe();
  assert.deepEqual(await take(events, 3, ({ event_id }) => event_id), ["a", "b", "c"]);
  await events.return();
  const seen = new Seen();
  for (let number = 0; number <= Seen.REMEMBERED; number += 1) seen.add(`${number}`);
  assert.deepEqual([seen.size, seen.has("0"), seen.has("1")], [Seen.REMEMBERED, false, true]);
});

/** Opens alice's callback server. Returns a function that calls it as a party. */
async function openInbox(context, take_, cert = pem("alice")) {
  const inbox = new Inbox(new Credentials(cert), take_);
  context.after(() => inbox.close());
  const port = await inbox.listen();
  const { partyId } = inbox.credentials;
  const notify = (party, request) => new Promise((resolve, reject) => {
    const [key, chain, authority] = [`${party}.key`, `${party}.pem`, "ca.pem"].map((name) => readFileSync(path.join(PKI, name)));
    const options = { ...CHANNEL, "grpc.ssl_target_name_override": `${partyId}.seller.souk.internal` };
    const secured = grpc.credentials.createSsl(authority, key, chain);
    const client = new shopping.NotificationService(`127.0.0.1:${port}`, secured, options);
    context.after(() => client.close());
    client.NotifyClient({ recipient_id: partyId, events: [], ...request }, { deadline: Date.now() + 20_000 },
      (error, answer) => (error ? reject(error) : resolve(answer.acknowledged_sequence)));
  });
  return { inbox, port, notify };
}

const batch = { events: [{ event_id: "a", sequence: 1 }, { event_id: "b", sequence: 2 }] };

guarantee("a callback is processed once and acknowledged afterwards", async ({ context }) => {
  const taken = [];
  let [begin, finish] = [];
  const begun = new Promise((resolve) => { begin = resolve; });
  const finished = new Promise((resolve) => { finish = resolve; });
  const { notify } = await openInbox(context, async ({ event_id }) => { taken.push(event_id); begin(); await finished; });
  let answers = 0;
  const calls = Array.from({ length: 3 }, () => notify("market", batch).finally(() => { answers += 1; }));
  await begun;
  assert.deepEqual([taken, answers], [["a"], 0]);
  finish();
  assert.deepEqual(await Promise.all(calls), [2, 2, 2]);
  assert.deepEqual(taken, ["a", "b"]);
});

guarantee("an event that was not processed comes again", async ({ context }) => {
  const [taken, faulty] = [[], new Set(["b"])];
  const { notify } = await openInbox(context, async ({ event_id }) => {
    if (faulty.delete(event_id)) throw new Error("the disk is full");
    taken.push(event_id);
  });
  assert.equal(await notify("market", batch), 1);
  assert.equal(await notify("market", batch), 2);
  assert.deepEqual(taken, ["a", "b"]);
});

guarantee("only the market may call back and only with own events", async ({ context }) => {
  const { notify } = await openInbox(context, () => assert.fail("nothing may arrive"));
  await refused(notify("carol", batch), PERMISSION_DENIED);
  await refused(notify("market", { ...batch, recipient_id: new Credentials(pem("carol")).partyId }), INVALID_ARGUMENT);
});

guarantee("a renewed certificate is used by both sides", async ({ market, connect, context }) => {
  const folder = mkdtempSync(path.join(tmpdir(), "souk-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const pki = path.join(folder, "pki");
  cpSync(PKI, pki, { recursive: true });
  const cert = path.join(pki, "alice.pem");
  const souk = connect({ cert });
  const { inbox, port } = await openInbox(context, () => {}, cert);
  await call(souk);
  execFileSync(process.env.GEN_CERTS, ["renew", "alice"], { env: { ...process.env, SOUK_PKI: pki }, stdio: "ignore" });
  const renewed = new X509Certificate(readFileSync(cert)).raw;
  const deadline = Date.now() + 20_000;
  do await call(souk); while (!market.calls.at(-1).leaf.equals(renewed) && Date.now() < deadline);
  assert.ok(market.calls.at(-1).leaf.equals(renewed));
  assert.ok(!market.calls[0].leaf.equals(renewed));
  inbox.renewals.look();
  const shown = await new Promise((resolve, reject) => {
    const [key, chain] = ["market.key", "market.pem"].map((name) => readFileSync(path.join(PKI, name)));
    const options = { port, key, cert: chain, ALPNProtocols: ["h2"], rejectUnauthorized: false };
    const socket = tls.connect(options, () => { resolve(socket.getPeerCertificate().raw); socket.destroy(); });
    socket.on("error", reject);
  });
  assert.ok(shown.equals(renewed));
});
