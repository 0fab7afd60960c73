// When to repeat a call, and when not: the rules of the Rust SDK (docs/protocol.md, "Which errors to repeat").
//
// Nothing here reads a clock, sleeps or draws random numbers except through what it was given, so that tests control
// it.

import grpc from "@grpc/grpc-js";
import protobuf from "protobufjs";

export const MAX_ATTEMPTS = 5;
export const MAX_TOKENS = 100;
const ANSWERS_PER_RETRY = 10;
const [FIRST_DELAY, MAX_DELAY] = [100, 2_000]; // milliseconds
const [FIRST_RECONNECT, MAX_RECONNECT] = [250, 30_000];
const DOMAIN = "shopping.v1";
const TOKEN_REASONS = new Set(["TOKEN_REQUIRED", "TOKEN_INVALID", "TOKEN_EXPIRED"]);
const { CANCELLED, DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE, UNKNOWN } = grpc.status;
// What gRPC reports of a connection that broke during a stream. The market's own errors have an ErrorInfo.
const BROKEN = new Set([CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN]);

/** The messages of google.rpc that errors contain. */
export const rpc = protobuf.parse(`syntax = "proto3"; package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }`, { keepCase: true }).root.lookup("google.rpc");

/** What a failed call says: its code, the market's reason, and how long to wait. */
export class Failure {
  /** The values that go with the reason. */
  metadata = {};

  constructor(error) {
    this.code = error?.code ?? UNAVAILABLE; // without an error, the market ended a stream
    for (const value of error?.metadata?.get("grpc-status-details-bin") ?? []) this.#read(value);
    // Of the two, gRPC's own field (gRFC A6) decides. What is no number of milliseconds forbids a retry.
    for (const value of error?.metadata?.get("grpc-retry-pushback-ms") ?? []) {
      this.forbidsRetry = !/^[0-9]+$/.test(value);
      this.retryAfter = this.forbidsRetry ? undefined : Number(value);
    }
  }

  #read(value) {
    for (const { type_url, value: detail } of rpc.lookupType("Status").decode(value).details) {
      const type = type_url.replace(/.*\//, "");
      if (type === "google.rpc.ErrorInfo") {
        const { reason, domain, metadata } = rpc.lookupType("ErrorInfo").decode(detail);
        if (domain === DOMAIN) [this.reason, this.metadata] = [reason, metadata];
      } else if (type === "google.rpc.RetryInfo") {
        const { seconds, nanos } = rpc.lookupType("RetryInfo").decode(detail).retry_delay ?? { seconds: 0, nanos: 0 };
        this.retryAfter = Number(seconds) * 1_000 + nanos / 1e6;
      }
    }
  }

  get isAboutTheToken() {
    return TOKEN_REASONS.has(this.reason);
  }

  /** Whether the same call may succeed a little later. */
  get mayRepeat() {
    if (this.forbidsRetry) return false;
    // Without a time, it is a limit that waiting does not lift, such as that of the message size.
    return this.code === UNAVAILABLE || (this.code === RESOURCE_EXHAUSTED && this.retryAfter !== undefined);
  }

  /** Whether a stream that ended with it is worth opening again. */
  get mayReopen() {
    const isBroken = this.reason === undefined && BROKEN.has(this.code);
    return [UNAVAILABLE, RESOURCE_EXHAUSTED].includes(this.code) || isBroken || this.reason === "ACCOUNT_SUSPENDED";
  }
}

/** The waits and the retry budget that the calls of one connection share. */
export class Retries {
  #tokens = MAX_TOKENS * ANSWERS_PER_RETRY; // in tenths

  constructor({ now = () => performance.now(), sleep = wait, jitter = Math.random } = {}) {
    Object.assign(this, { now, sleep, jitter });
  }

  /** Records an answer, which earns a part of a retry. */
  answered() {
    this.#tokens = Math.min(this.#tokens + 1, MAX_TOKENS * ANSWERS_PER_RETRY);
  }

  /** Records a failure that would be retried, and returns whether it may be (gRFC A6, retry throttling). */
  spend() {
    this.#tokens = Math.max(this.#tokens - ANSWERS_PER_RETRY, 0);
    return this.#tokens > (MAX_TOKENS * ANSWERS_PER_RETRY) / 2;
  }

  /** Returns the milliseconds to wait after so many failures: a random time in the upper half of a doubling interval,
   *  or the wait that the market requested and a random part of up to half of it. */
  wait(failures, requested, first = FIRST_DELAY, longest = MAX_DELAY) {
    const jitter = this.jitter();
    const own = Math.min(first * 2 ** Math.min(failures - 1, 16), longest) * (0.5 + jitter / 2);
    if (requested === undefined) return own;
    const spread = Math.min(Math.max(requested / 2, FIRST_DELAY), MAX_DELAY);
    return Math.max(requested + spread * jitter, own);
  }

  waitToReopen(failures, failure) {
    return this.wait(failure.forbidsRetry ? 64 : failures, failure.retryAfter, FIRST_RECONNECT, MAX_RECONNECT);
  }
}

/** The ids of the last events that were handed over. An event that comes again is recognised by its id. */
export class Seen {
  static REMEMBERED = 1_024;
  #ids = new Set();

  has(eventId) {
    return this.#ids.has(eventId);
  }

  add(eventId) {
    this.#ids.add(eventId);
    // A set keeps the order in which its members came, so that the first is the oldest.
    if (this.#ids.size > Seen.REMEMBERED) this.#ids.delete(this.#ids.values().next().value);
  }

  get size() {
    return this.#ids.size;
  }
}

function wait(milliseconds) {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}
