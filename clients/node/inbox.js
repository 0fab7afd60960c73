// A callback server, to which the market delivers events.

import grpc from "@grpc/grpc-js";

import { RELOAD_EVERY } from "./credentials.js";
import { Seen } from "./retrying.js";
import { shopping } from "./souk.js";

/** Passes a certificate to the server, and each renewal of it. */
class Renewals {
  #credentials; #timer; #identity = new Set(); #authority = new Set();

  constructor(credentials) {
    this.#credentials = credentials;
    this.#timer = setInterval(() => this.look(), RELOAD_EVERY).unref();
  }

  /** Uses the files if they have changed. */
  look() {
    const renewed = this.#credentials.renewed();
    if (!renewed) return;
    this.#credentials = renewed;
    for (const listener of this.#identity) listener(this.#pair());
    for (const listener of this.#authority) listener(this.#roots());
  }

  stop() {
    clearInterval(this.#timer);
  }

  addIdentityCertificateListener(listener) {
    this.#identity.add(listener);
    process.nextTick(listener, this.#pair());
  }

  addCaCertificateListener(listener) {
    this.#authority.add(listener);
    process.nextTick(listener, this.#roots());
  }

  removeIdentityCertificateListener(listener) {
    this.#identity.delete(listener);
  }

  removeCaCertificateListener(listener) {
    this.#authority.delete(listener);
  }

  #pair() {
    return { certificate: this.#credentials.chain, privateKey: this.#credentials.key };
  }

  #roots() {
    return { caCertificate: this.#credentials.authority };
  }
}

/** A callback server, which only the market may call. Passes each event to `take` once, one at a time, and
 *  acknowledges it when the promise of `take` is fulfilled. If it is rejected, the event is delivered again later. */
export class Inbox {
  #seen = new Seen();
  #turn = Promise.resolve();

  constructor(credentials, take) {
    this.credentials = credentials;
    this.take = take;
    this.renewals = new Renewals(credentials);
    this.server = new grpc.Server();
    this.server.addService(shopping.NotificationService.service, { NotifyClient: this.notify.bind(this) });
  }

  listen(address = "127.0.0.1:0") {
    const tls = grpc.experimental.createCertificateProviderServerCredentials(this.renewals, this.renewals, true);
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
    // A delivery that is repeated while the first is being processed waits for it, and then finds its events here.
    this.#turn = this.#turn.then(() => this.#process(call.request.events));
    const last = await this.#turn;
    if (!last && call.request.events.length > 0) {
      return answer({ code: grpc.status.UNAVAILABLE, details: "the event was not processed; try again later" });
    }
    return answer(null, { acknowledged_sequence: last });
  }

  close() {
    this.renewals.stop();
    this.server.forceShutdown();
  }

  /** Returns the sequence of the last event that was processed; 0 if there is none. */
  async #process(events) {
    let last = 0;
    for (const event of events) {
      if (!this.#seen.has(event.event_id)) {
        try {
          await this.take(event);
        } catch (error) {
          console.warn(`event ${event.event_id} was not processed: ${error.message}`);
          break;
        }
        this.#seen.add(event.event_id);
      }
      last = event.sequence;
    }
    return last;
  }
}
