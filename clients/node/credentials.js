// A certificate from gen-certs.sh or `join`, and its renewal.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";

/** Milliseconds between checks of the files. */
export const RELOAD_EVERY = 500;

/** A certificate, with its key and ca.pem in the same folder. */
export class Credentials {
  constructor(cert) {
    this.cert = cert;
    this.files = [cert, cert.replace(/\.pem$/, ".key"), path.join(path.dirname(cert), "ca.pem")];
    this.stamp = this.#stateOfFiles();
    [this.chain, this.key, this.authority] = this.files.map((file) => readFileSync(file));
    const leaf = new X509Certificate(this.chain);
    if (!leaf.checkPrivateKey(createPrivateKey(this.key))) throw new Error(`${this.files[1]} is not the key of ${cert}`);
    const names = leaf.subjectAltName;
    [, this.domain, this.role, this.partyId] = names.match(/URI:spiffe:\/\/([^/]+)\/(seller|buyer|operator)\/([0-9a-f-]{36})/);
  }

  /** Returns new credentials if the files have changed. Files that are being replaced, or are of another party, are
   *  left for the next time. */
  renewed() {
    try {
      if (this.#stateOfFiles() === this.stamp) return undefined;
      const renewed = new Credentials(this.cert);
      return renewed.partyId === this.partyId ? renewed : undefined;
    } catch (error) {
      console.warn(`the changed certificate is not usable yet: ${error.message}`);
      return undefined;
    }
  }

  #stateOfFiles() {
    return this.files.map((file) => statSync(file)).map(({ mtimeMs, ino }) => `${mtimeMs}/${ino}`).join();
  }
}
