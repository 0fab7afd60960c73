// A scripted market, to test what the client does.

import { readFileSync } from "node:fs";
import path from "node:path";

import grpc from "@grpc/grpc-js";

import { rpc } from "../retrying.js";
import { shopping } from "../souk.js";

function any(type, message) {
  const value = rpc.lookupType(type).encode(rpc.lookupType(type).fromObject(message)).finish();
  return { type_url: `type.googleapis.com/google.rpc.${type}`, value };
}

/** Returns an error as the market sends it. `retryAfter` is in milliseconds. */
export function refusal(code, { reason, retryAfter, pushback } = {}) {
  const details = [];
  if (reason) details.push(any("ErrorInfo", { reason, domain: "shopping.v1" }));
  if (retryAfter !== undefined) {
    const seconds = Math.floor(retryAfter / 1_000);
    details.push(any("RetryInfo", { retry_delay: { seconds, nanos: (retryAfter % 1_000) * 1e6 } }));
  }
  const metadata = new grpc.Metadata();
  const status = rpc.lookupType("Status").encode(rpc.lookupType("Status").fromObject({ code, details })).finish();
  if (details.length > 0) metadata.set("grpc-status-details-bin", Buffer.from(status));
  if (pushback !== undefined) metadata.set("grpc-retry-pushback-ms", pushback);
  return Object.assign(new Error("refused"), { code, details: "refused", metadata });
}

export const event = (sequence, event_id = `event-${sequence}`) => ({ event: { sequence, event_id } });

/** Answers TestEvent after the errors in `refusals`, and Subscribe with the messages and errors in `streams`. */
export class Market {
  tokenLife = 600; oldestToken = 1; issueRefused; isIssuing = true; isAnswering = true;
  refusals = []; streams = [];
  issued = 0; calls = []; cursors = []; acknowledged = [];
  #held = []; #watchers = new Set();

  async open(pki) {
    const [key, chain, authority] = ["market.key", "market.pem", "ca.pem"].map((name) => readFileSync(path.join(pki, name)));
    this.server = new grpc.Server();
    this.server.addService(shopping.AccountService.service, { IssueToken: this.issueToken.bind(this) });
    this.server.addService(shopping.EventService.service, {
      TestEvent: this.testEvent.bind(this), Subscribe: this.subscribe.bind(this), Acknowledge: this.acknowledge.bind(this),
    });
    const tls = grpc.ServerCredentials.createSsl(authority, [{ private_key: key, cert_chain: chain }], true);
    const port = await new Promise((resolve, reject) => {
      this.server.bindAsync("127.0.0.1:0", tls, (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    this.address = `127.0.0.1:${port}`;
    return this;
  }

  close() {
    this.server.forceShutdown();
  }

  /** Lets the calls that were held go on. */
  release() {
    [this.isIssuing, this.isAnswering] = [true, true];
    for (const answer of this.#held.splice(0)) answer();
  }

  /** Resolves when the condition holds, which is looked at after each call. */
  until(condition) {
    return new Promise((resolve) => {
      const look = () => condition() && (this.#watchers.delete(look), resolve());
      this.#watchers.add(look);
      look();
    });
  }

  issueToken(call, answer) {
    this.issued += 1;
    const token = `token-${this.issued}`;
    const now = Math.floor(Date.now() / 1_000);
    const respond = () => (this.issueRefused ? answer(this.issueRefused) : answer(null, {
      access_token: token, issue_time: { seconds: now }, expire_time: { seconds: now + this.tokenLife },
    }));
    if (this.isIssuing) respond(); else this.#held.push(respond);
    this.#changed();
  }

  testEvent(call, answer) {
    const refused = this.#authenticate(call);
    if (refused) return answer(refused);
    const leaf = call.getAuthContext().sslPeerCertificate.raw;
    this.calls.push({ id: call.request.request_id, left: call.getDeadline() - Date.now(), leaf });
    const failure = this.refusals.shift();
    const respond = () => (failure ? answer(failure) : answer(null, { event_id: call.request.request_id }));
    if (this.isAnswering) respond(); else this.#held.push(respond);
    this.#changed();
    return undefined;
  }

  subscribe(stream) {
    const refused = this.#authenticate(stream);
    if (refused) return stream.emit("error", refused);
    this.cursors.push(Number(stream.request.cursor));
    stream.write({ opened: { kept: true } });
    for (const message of this.streams.shift() ?? []) {
      if (message instanceof Error) return stream.emit("error", message);
      stream.write(message);
    }
    this.#changed();
    return undefined;
  }

  acknowledge(call, answer) {
    this.acknowledged.push(Number(call.request.sequence));
    answer(null, {});
    this.#changed();
  }

  #authenticate(call) {
    const [bearer] = call.metadata.get("authorization");
    const number = Number(bearer.replace("Bearer token-", ""));
    const isOld = number < this.oldestToken;
    return isOld ? refusal(grpc.status.UNAUTHENTICATED, { reason: "TOKEN_EXPIRED" }) : undefined;
  }

  #changed() {
    for (const look of [...this.#watchers]) look();
  }
}
