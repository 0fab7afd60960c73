// A minimal client of a Souk market.
//
// The certificate is the account: the channel presents it, `x-party-id` repeats its UUID, and the access token is
// bound to it.

import { randomUUID, X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const MARKET = "market.souk.internal";
const RENEW_AFTER = 2 / 3; // of a token's lifetime
const PROTO = process.env.SOUK_PROTO ?? fileURLToPath(new URL("../../proto", import.meta.url));

const files = readdirSync(path.join(PROTO, "shopping/v1")).filter((name) => name.endsWith(".proto"));
const definition = loader.loadSync(files.map((name) => `shopping/v1/${name}`), {
  includeDirs: [PROTO],
  keepCase: true,
  longs: Number, // ids and amounts are far below 2⁵³ in practice; otherwise use String
  enums: String,
  arrays: true,
  oneofs: true,
});
const shopping = grpc.loadPackageDefinition(definition).shopping.v1;

/** A certificate from gen-certs.sh, with its key and ca.pem in the same folder. */
export class Credentials {
  constructor(cert) {
    this.chain = readFileSync(cert);
    this.key = readFileSync(cert.replace(/\.pem$/, ".key"));
    this.authority = readFileSync(path.join(path.dirname(cert), "ca.pem"));
    const names = new X509Certificate(this.chain).subjectAltName;
    [, this.role, this.partyId] = names.match(/URI:spiffe:\/\/[^/]+\/(seller|buyer|operator)\/([0-9a-f-]{36})/);
  }
}

/** An open connection to a market; `call("SellerService", "SellItem", {…})` calls it. */
export class Souk {
  constructor(cert, address) {
    this.credentials = new Credentials(cert);
    const { authority, key, chain } = this.credentials;
    this.tls = grpc.credentials.createSsl(authority, key, chain);
    // The market is verified by its identity, independent of its address.
    this.options = { "grpc.ssl_target_name_override": MARKET };
    this.address = address;
    this.clients = new Map();
    this.renewAt = 0;
  }

  client(service) {
    if (!this.clients.has(service)) {
      this.clients.set(service, new shopping[service](this.address, this.tls, this.options));
    }
    return this.clients.get(service);
  }

  /** Returns the metadata of a call: the account's UUID and a valid token. */
  async metadata(service) {
    const metadata = new grpc.Metadata();
    metadata.set("x-party-id", this.credentials.partyId);
    if (service !== "AccountService") {
      metadata.set("authorization", `Bearer ${await this.freshToken()}`);
    }
    return metadata;
  }

  async freshToken() {
    if (performance.now() >= this.renewAt) {
      const issued = await this.call("AccountService", "IssueToken", {});
      const life = issued.expire_time.seconds - issued.issue_time.seconds;
      this.renewAt = performance.now() + life * 1000 * RENEW_AFTER;
      this.token = issued.access_token;
    }
    return this.token;
  }

  async call(service, method, request) {
    const metadata = await this.metadata(service);
    return new Promise((resolve, reject) => {
      this.client(service)[method](request, metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  /** Registers the account or updates it. With a port, the market calls back at that port. */
  register(name, callbackPort) {
    const callback = callbackPort ? { port: callbackPort } : undefined;
    const method = this.credentials.role === "seller" ? "RegisterSeller" : "RegisterBuyer";
    return this.call("AccountService", method, { request_id: newRequestId(), display_name: name, callback });
  }

  /** Yields events as they arrive, and acknowledges each one when the next is requested. An event that the
   *  caller did not finish processing is therefore delivered again. */
  async *subscribe(cursor = 0) {
    for await (const { event } of this.stream("EventService", "Subscribe", { cursor })) {
      if (event) {
        yield event;
        await this.call("EventService", "Acknowledge", { sequence: event.sequence });
      }
    }
  }

  /** Yields the messages of a server stream, and cancels the call when the caller stops iterating. */
  async *stream(service, method, request) {
    const stream = this.client(service)[method](request, await this.metadata(service));
    try {
      yield* stream;
    } finally {
      stream.on("error", () => {}); // cancelling raises an error, which is expected
      stream.cancel();
    }
  }

  close() {
    for (const client of this.clients.values()) client.close();
  }
}

/** A callback server, which only the market may call. Passes each event to `take` once. */
export class Inbox {
  constructor(credentials, take) {
    this.credentials = credentials;
    this.take = take;
    this.seen = new Set();
    this.server = new grpc.Server();
    this.server.addService(shopping.NotificationService.service, { NotifyClient: this.notify.bind(this) });
  }

  listen(address = "127.0.0.1:0") {
    const { authority, key, chain } = this.credentials;
    const tls = grpc.ServerCredentials.createSsl(authority, [{ private_key: key, cert_chain: chain }], true);
    return new Promise((resolve, reject) => {
      this.server.bindAsync(address, tls, (error, port) => (error ? reject(error) : resolve(port)));
    });
  }

  async notify(call, answer) {
    const names = call.getAuthContext().sslPeerCertificate?.subjectaltname ?? "";
    if (!/URI:spiffe:\/\/[^/,]+\/market(,|$)/.test(names)) {
      return answer({ code: grpc.status.PERMISSION_DENIED, details: "only the market may call a callback" });
    }
    if (call.request.recipient_id !== this.credentials.partyId) {
      return answer({ code: grpc.status.INVALID_ARGUMENT, details: "these events are for somebody else" });
    }
    let last = 0;
    for (const event of call.request.events) {
      if (!this.seen.has(event.event_id)) {
        await this.take(event);
        this.seen.add(event.event_id);
      }
      last = event.sequence;
    }
    answer(null, { acknowledged_sequence: last });
  }

  close() {
    this.server.forceShutdown();
  }
}

/** Returns a new request id. A call that is retried with the same id takes effect once. */
export const newRequestId = () => randomUUID();
