// A client of a Souk market.
//
// The certificate is the account: the channel presents it, `x-party-id` repeats its UUID, and the access token is
// bound to it. docs/clients.md lists what the client guarantees.

import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

import { Credentials, RELOAD_EVERY } from "./credentials.js";
import { redeem } from "./joining.js";
import { Failure, MAX_ATTEMPTS, Retries, Seen } from "./retrying.js";

export { Credentials };

const PROTO = process.env.SOUK_PROTO ?? fileURLToPath(new URL("../../proto", import.meta.url));
const [RENEW_FROM, RENEW_TO] = [2 / 3, 3 / 4]; // of a token's lifetime; in between at random
const [FIRST_RENEWAL_PAUSE, MAX_RENEWAL_PAUSE] = [500, 30_000]; // milliseconds after a renewal that failed

/** Milliseconds for a call with its retries, and for the opening of a stream of events. */
export const TIMEOUT = 10_000;
/** Milliseconds for a call that sends a stream. */
export const IMPORT_TIMEOUT = 3_600_000;

export const CHANNEL = {
  // The market is verified by its identity, independent of its address.
  "grpc.ssl_target_name_override": "market.souk.internal",
  // A connection attempt that gets no answer is repeated soon, and a dead connection is noticed on quiet streams too.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
};

const files = readdirSync(path.join(PROTO, "shopping/v1")).filter((name) => name.endsWith(".proto"));
const definition = loader.loadSync(files.map((name) => `shopping/v1/${name}`), {
  includeDirs: [PROTO],
  keepCase: true,
  longs: Number, // ids and amounts are far below 2⁵³ in practice; otherwise use String
  enums: String,
  arrays: true,
  oneofs: true,
});
/** The services of the contract. */
export const shopping = grpc.loadPackageDefinition(definition).shopping.v1;

/** Keeps an access token. Calls that need one at the same time share one IssueToken. */
class Tokens {
  #issue; #retries; #token; #fetch; #renewAt = 0; #end = 0; #failures = 0;

  constructor(issue, retries) {
    this.#issue = issue;
    this.#retries = retries;
  }

  async get() {
    const now = this.#retries.now();
    const usable = now < this.#end ? this.#token : undefined;
    if (usable && (now < this.#renewAt || this.#fetch)) return usable;
    this.#fetch ??= this.#run().finally(() => { this.#fetch = undefined; });
    try {
      return await this.#fetch;
    } catch (error) {
      if (usable) return usable; // a renewal that failed must not fail the call
      throw error;
    }
  }

  /** Drops a token that the market refused, unless it has been replaced meanwhile. */
  forget(refused) {
    if (this.#token === refused) this.drop();
  }

  /** Drops the token, because it is bound to a certificate that is no longer used. */
  drop() {
    [this.#token, this.#end] = [undefined, 0];
  }

  async #run() {
    const asked = this.#retries.now();
    try {
      const issued = await this.#issue();
      const life = milliseconds(issued.expire_time) - milliseconds(issued.issue_time);
      this.#renewAt = asked + life * (RENEW_FROM + (RENEW_TO - RENEW_FROM) * this.#retries.jitter());
      this.#end = asked + life;
      this.#failures = 0;
      this.#token = issued.access_token;
      return this.#token;
    } catch (error) {
      this.#failures += 1;
      const pause = this.#retries.wait(this.#failures, undefined, FIRST_RENEWAL_PAUSE, MAX_RENEWAL_PAUSE);
      this.#renewAt = this.#retries.now() + pause;
      throw error;
    }
  }
}

/** A connection to a market; `call("SellerService", "SellItem", {…})` calls it. */
export class Souk {
  #tokens; #tls; #channel; #lookAgainAt = 0; #clients = new Map(); #retired = [];

  constructor(cert, address, retries = new Retries()) {
    this.credentials = new Credentials(cert);
    this.address = address;
    this.retries = retries;
    this.#tokens = new Tokens(() => this.#once("AccountService", "IssueToken", {}, TIMEOUT), retries);
  }

  /** Makes a call. `timeout`, in milliseconds, includes its retries. */
  async call(service, method, request, timeout = TIMEOUT) {
    const { retries } = this;
    const deadline = retries.now() + timeout;
    let [failedAttempts, isReplayed] = [0, false];
    for (;;) {
      const used = {};
      try {
        const answer = await this.#once(service, method, request, Math.max(deadline - retries.now(), 1), used);
        retries.answered();
        return answer;
      } catch (error) {
        const failure = this.#examine(error, used.token);
        if (failure.isAboutTheToken && used.token && !isReplayed) {
          isReplayed = true;
          continue;
        }
        if (!failure.mayRepeat) {
          if (failure.reason) retries.answered();
          throw error;
        }
        failedAttempts += 1;
        const isWithinBudget = retries.spend();
        const wait = retries.wait(failedAttempts, failure.retryAfter);
        if (!isWithinBudget || failedAttempts === MAX_ATTEMPTS || retries.now() + wait >= deadline) throw error;
        await retries.sleep(wait);
      }
    }
  }

  /** Registers the account or updates it. With a port, the market calls back at that port. */
  register(name, callbackPort) {
    const callback = callbackPort ? { port: callbackPort } : undefined;
    const method = this.credentials.role === "seller" ? "RegisterSeller" : "RegisterBuyer";
    return this.call("AccountService", method, { request_id: newRequestId(), display_name: name, callback });
  }

  /** Yields each event once, and acknowledges it when the next is requested. An event that the caller did not finish
   *  processing is therefore delivered again. A stream that breaks is opened again after the last event. */
  async *subscribe(cursor = 0) {
    const seen = new Seen();
    for (let [failures, isReplayed] = [0, false]; ;) {
      let failure;
      try {
        for await (const { event } of this.stream("EventService", "Subscribe", { cursor })) {
          [failures, isReplayed] = [0, false];
          if (!event) continue;
          if (!seen.has(event.event_id)) {
            yield event;
            seen.add(event.event_id);
          }
          cursor = Math.max(cursor, event.sequence);
          // After a failure, the next acknowledgement or the cursor of the next stream includes it.
          await this.call("EventService", "Acknowledge", { sequence: cursor }).catch(() => {});
        }
        failure = new Failure();
      } catch (error) {
        failure = new Failure(error);
        if (failure.isAboutTheToken && !isReplayed) {
          isReplayed = true;
          continue;
        }
        if (!failure.mayReopen) throw error;
      }
      failures += 1;
      await this.retries.sleep(this.retries.waitToReopen(failures, failure));
    }
  }

  /** Yields the messages of a server stream, and cancels the call when the caller stops iterating. The market has to
   *  answer within `timeout` milliseconds; from then on the keep-alive watches the stream. */
  async *stream(service, method, request, timeout = TIMEOUT) {
    const used = {};
    const metadata = await this.#metadata(service, timeout, used);
    const stream = this.#client(service)[method](request, metadata);
    const opening = setTimeout(() => stream.cancel(), timeout);
    stream.on("metadata", () => clearTimeout(opening));
    try {
      yield* stream;
    } catch (error) {
      this.#examine(error, used.token);
      throw error;
    } finally {
      clearTimeout(opening);
      stream.on("error", () => {}); // cancelling raises an error, which is expected
      stream.cancel();
    }
  }

  /** Sends a stream of messages, an iterable, to a method with one answer. */
  async send(service, method, messages, timeout = IMPORT_TIMEOUT) {
    const metadata = await this.#metadata(service, TIMEOUT, {});
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + timeout };
      const answered = (error, answer) => (error ? reject(error) : resolve(answer));
      const call = this.#client(service)[method](metadata, options, answered);
      (async () => {
        for await (const message of messages) {
          if (!call.write(message)) await new Promise((drained) => { call.once("drain", drained); });
        }
        call.end();
      })().catch((error) => { call.cancel(); reject(error); });
    });
  }

  close() {
    for (const client of [...this.#retired, ...this.#clients.values()]) client.close();
  }

  /** Makes one attempt. */
  async #once(service, method, request, timeout, used = {}) {
    const deadline = Date.now() + timeout;
    const metadata = await this.#metadata(service, timeout, used);
    return new Promise((resolve, reject) => {
      const answered = (error, answer) => (error ? reject(error) : resolve(answer));
      this.#client(service)[method](request, metadata, { deadline }, answered);
    });
  }

  /** Returns the metadata of a call: the account's UUID and a valid token. */
  async #metadata(service, timeout, used) {
    const metadata = new grpc.Metadata();
    metadata.set("x-party-id", this.credentials.partyId);
    if (service !== "AccountService") {
      used.token = await within(timeout, this.#tokens.get());
      metadata.set("authorization", `Bearer ${used.token}`);
    }
    return metadata;
  }

  #examine(error, token) {
    const failure = new Failure(error);
    if (failure.code === grpc.status.UNAUTHENTICATED && token) this.#tokens.forget(token);
    return failure;
  }

  #client(service) {
    this.#reload();
    if (!this.#clients.has(service)) {
      this.#clients.set(service, new shopping[service](this.address, this.#tls, this.#channel));
    }
    return this.#clients.get(service);
  }

  /** Uses a renewed certificate for the connections from now on. Earlier ones stay open, since streams use them. */
  #reload() {
    const now = performance.now();
    if (this.#tls && now < this.#lookAgainAt) return;
    this.#lookAgainAt = now + RELOAD_EVERY;
    const renewed = this.credentials.renewed();
    if (this.#tls && !renewed) return;
    this.credentials = renewed ?? this.credentials;
    this.#retired.push(...this.#clients.values());
    this.#clients.clear();
    this.#tokens.drop();
    const { authority, key, chain } = this.credentials;
    this.#tls = grpc.credentials.createSsl(authority, key, chain);
    this.#channel = { ...CHANNEL, "grpc.ssl_target_name_override": `market.${this.credentials.domain}` };
  }
}

/** Joins a market with an invitation code, and registers there. Returns a `Souk`. `redeem` in joining.js says where the
 *  files are. Call it again with the same code after an error. */
export async function join(code, { role, folder, displayName, retries } = {}) {
  const { cert, markets, name } = await redeem(shopping, code, { role, folder });
  if (markets.length === 0) throw new Error(`the authority names no market: new Souk("${cert}", "HOST:PORT")`);
  const souk = new Souk(cert, markets[0], retries);
  if (souk.credentials.role !== "operator") await souk.register(displayName ?? name);
  return souk;
}

/** Returns a new request id. A call that is retried with the same id takes effect once. */
export const newRequestId = () => randomUUID();

function milliseconds({ seconds = 0, nanos = 0 }) {
  return seconds * 1_000 + nanos / 1e6;
}

/** Rejects with DEADLINE_EXCEEDED if the promise is not settled in time. */
function within(timeout, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    const error = Object.assign(new Error("no token in time"), { code: grpc.status.DEADLINE_EXCEEDED });
    timer = setTimeout(() => reject(error), timeout);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
