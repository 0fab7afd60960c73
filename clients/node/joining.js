// Joining a market with an invitation code: a key, a certificate for it, and a context that holds both.
//
// The code names the authority's root certificate by its hash. The root is fetched first, compared with the hash, and
// made the one authority that is trusted on the connection over which the secret is sent.

import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import {
  closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync,
  statSync, symlinkSync, writeSync,
} from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import tls from "node:tls";

import grpc from "@grpc/grpc-js";

import { Failure } from "./retrying.js";

const [PREFIX, VERSION, DEFAULT_DOMAIN] = ["souk1", 1, "souk.internal"];
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const TIMEOUT = 15_000; // milliseconds for each step
const MAX_ANSWER = 5 * 1024 * 1024; // bytes
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const ROLES = new Set(["seller", "buyer", "operator"]);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();

/** The server is not the authority of the code. Nothing was sent to it. */
export class NotTheAuthority extends Error {}

/** Decodes a code. Throws if a character is missing or wrong. */
export function decode(code) {
  const text = code.replace(/\s/g, "").toLowerCase();
  if (!text.startsWith(PREFIX)) throw new Error(`this is no invitation code: one begins with \`${PREFIX}\``);
  const damaged = new Error("the invitation code is damaged: a character is missing or wrong; copy the whole word again");
  const bytes = base32(text.slice(PREFIX.length));
  const data = bytes?.subarray(0, -4);
  if (!bytes || data.length < 43 || !sha256(data).subarray(0, 4).equals(bytes.subarray(-4))) throw damaged;
  if (data[0] !== VERSION) throw new Error(`the invitation code has version ${data[0]}, and this program knows ${VERSION}`);
  const rest = data.subarray(41);
  const authority = rest.subarray(1, 1 + rest[0]).toString("latin1");
  const domain = rest.subarray(1 + rest[0]);
  return {
    id: data.subarray(1, 9), secret: data.subarray(9, 25), pin: data.subarray(25, 41), authority,
    domain: domain.subarray(1, 1 + domain[0]).toString("latin1") || DEFAULT_DOMAIN,
  };
}

function base32(text) {
  let [bits, count] = [0, 0];
  const bytes = [];
  for (const character of text) {
    const value = BASE32.indexOf(character);
    if (value < 0) return undefined;
    bits = ((bits << 5) | value) & 0xfff;
    count += 5;
    if (count >= 8) {
      count -= 8;
      bytes.push((bits >> count) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

/** Exchanges a code for a certificate. Returns the certificate's path, the market's addresses and the party's name.
 *
 *  Without a role, that of the invitation is found out, which may leave a refusal in the authority's log. The files are a context in `folder`, by default
 *  `~/.config/souk/contexts/NAME`, which the command lines use as well (`--context NAME`); a party that joins again
 *  keeps its context. After an error, call it again with the same code: it continues with the same key. */
export async function redeem(shopping, code, { role, folder } = {}) {
  const invitation = decode(code);
  const home = path.join(process.env.XDG_CONFIG_HOME || path.join(homedir(), ".config"), "souk");
  const contexts = path.join(home, "contexts");
  (folder ? [folder] : [home, contexts]).forEach(refuseExposed);
  const all = () => (existsSync(contexts) ? readdirSync(contexts).sort().map((name) => path.join(contexts, name)) : []);
  const there = folder ? [folder] : all();
  const made = there.find((context) => existsSync(path.join(context, "live")) && isOf(context, invitation));
  if (made) {
    refuseExposed(made);
    return result(made);
  }
  const joining = path.join(folder ?? home, "joining", invitation.id.toString("hex"));
  refuseExposed(joining);
  const key = keyIn(path.join(joining, "party.key"));
  const root = await rootOf(invitation);
  const [answer, found] = await exchanged(shopping, invitation, key, root, role);
  const partyId = checked(answer, key, root, found, invitation);
  if (!NAME.test(answer.name)) throw new Error("the authority's answer can't be used: the name is none");
  const identity = { role: found, party: partyId, trust_domain: invitation.domain };
  const named = path.join(contexts, answer.name);
  const context = folder ?? [named, ...there].find((before) => has(before, identity)) ?? named;
  refuseExposed(context);
  if (existsSync(path.join(context, "context.toml")) && !isOf(context, invitation) && !has(context, identity)) {
    throw new Error(`a context ${path.basename(context)} exists; name another folder, or remove it`);
  }
  install(shopping, context, invitation, answer, key, identity);
  rmSync(joining, { recursive: true });
  return result(context);
}

function result(context) {
  const { market, name } = described(context);
  return { cert: path.join(context, "live", "party.pem"), markets: market, name };
}

/** Reads context.toml, whose values are also JSON. */
function described(context) {
  const lines = readFileSync(path.join(context, "context.toml"), "utf8").split("\n").filter((line) => line.includes(" = "));
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf(" = ");
    return [line.slice(0, at), JSON.parse(line.slice(at + 3))];
  }));
}

/** Throws if others could replace the keys and the authority in a folder. */
function refuseExposed(folder) {
  if (!existsSync(folder)) return;
  const { uid, mode } = statSync(folder);
  if (uid !== process.geteuid() && uid !== 0) {
    throw new Error(`${folder} belongs to another user, who could replace the keys in it`);
  }
  if (mode & 0o022) throw new Error(`others may write to ${folder}; run: chmod go-w ${folder}`);
}

const isOf = (context, invitation) => has(context, { invitation: invitation.id.toString("hex") });

/** Returns whether the description of a context has these values. */
function has(context, expected) {
  try {
    const found = described(context);
    return Object.entries(expected).every(([name, value]) => found[name] === value);
  } catch {
    return false;
  }
}

/** Returns the key of an earlier attempt, or a new one, which is kept for the next. */
function keyIn(file) {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    write(file, pemOf(privateKey), 0o600);
  }
  return createPrivateKey(readFileSync(file));
}

const pemOf = (key) => key.export({ type: "pkcs8", format: "pem" });

/** Replaces a file. It has its mode from the beginning, and is complete when it appears. */
function write(file, data, mode) {
  const temporary = `${file}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  const handle = openSync(temporary, "wx", mode);
  try {
    writeSync(handle, data);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, file);
}

/** Returns an error if a certificate is not the authority's: the DNS name is compared, and the SPIFFE ID is the identity. */
const identityCheck = (domain) => (name, certificate) => {
  const ids = certificate.subjectaltname?.split(", ").filter((text) => text.startsWith("URI:"));
  const isAuthority = ids?.length === 1 && ids[0] === `URI:spiffe://${domain}/authority`;
  const other = new NotTheAuthority("the server is not the authority of the code; nothing was sent");
  return tls.checkServerIdentity(name, certificate) ?? (isAuthority ? undefined : other);
};

/** Fetches the root certificate. The connection is not verified and carries no data; the hash proves the root. */
function rootOf({ authority, domain, pin }) {
  const at = authority.lastIndexOf(":");
  const [host, port] = [authority.slice(0, at).replace(/^\[|\]$/g, ""), Number(authority.slice(at + 1))];
  const options = {
    host, port, servername: `authority.${domain}`, rejectUnauthorized: false, ALPNProtocols: ["h2"],
    minVersion: "TLSv1.3", timeout: TIMEOUT,
  };
  return new Promise((resolve, reject) => {
    const socket = tls.connect(options, () => {
      const root = socket.getPeerCertificate(true).issuerCertificate?.raw;
      socket.destroy();
      if (root && sha256(root).subarray(0, 16).equals(pin)) resolve(new X509Certificate(root));
      else reject(new NotTheAuthority(`${authority} is not the authority of the code; nothing was sent`));
    });
    socket.on("error", reject);
    socket.on("timeout", () => socket.destroy(new Error(`no answer from the authority at ${authority}`)));
  });
}

/** Sends the secret, over a connection on which the server has proved to be the authority by this root. */
async function exchanged(shopping, invitation, key, root, role) {
  const options = {
    "grpc.ssl_target_name_override": `authority.${invitation.domain}`, "grpc.max_receive_message_length": MAX_ANSWER,
  };
  const checkServerIdentity = identityCheck(invitation.domain);
  const credentials = grpc.credentials.createSsl(Buffer.from(root.toString()), null, null, { checkServerIdentity });
  const client = new shopping.EnrolmentService(invitation.authority, credentials, options);
  const ask = (expected) => new Promise((resolve, reject) => {
    const request = {
      invitation_id: invitation.id, secret: invitation.secret, role: `ROLE_${expected.toUpperCase()}`,
      csr: requestOf(key),
    };
    const deadline = Date.now() + TIMEOUT;
    client.Join(request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  const expected = role ?? "buyer";
  try {
    return [await ask(expected), expected];
  } catch (error) {
    // A code for another role is not used up.
    const { role: found } = new Failure(error).metadata;
    if (role || !ROLES.has(found) || found === expected) throw error;
    return [await ask(found), found];
  } finally {
    client.close();
  }
}

/** Returns a signing request (PKCS#10, RFC 2986) without a name: the authority takes only the key. */
function requestOf(key) {
  const der = (tag, ...parts) => {
    const body = Buffer.concat(parts);
    const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
    return Buffer.concat([Buffer.from([tag, ...length]), body]);
  };
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  // Version 0, an empty name, the key, no attributes.
  const info = der(0x30, Buffer.from([2, 1, 0]), der(0x30), publicKey, der(0xa0));
  // ecdsa-with-SHA256, 1.2.840.10045.4.3.2
  const algorithm = der(0x30, Buffer.from([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
  const signature = sign("sha256", info, key);
  return der(0x30, info, algorithm, der(0x03, Buffer.from([0]), signature));
}

/** Returns the party's UUID, after checking the certificate against the root, the key and the role. */
function checked(answer, key, root, role, { domain }) {
  const leaf = new X509Certificate(answer.certificate);
  const [, spiffeId] = leaf.subjectAltName?.match(/URI:([^,]+)/) ?? [];
  const prefix = `spiffe://${domain}/${role}/`;
  if (!leaf.verify(root.publicKey) || !leaf.checkPrivateKey(key) || !spiffeId?.startsWith(prefix)) {
    throw new Error("the authority's answer can't be used: the certificate is for another key or party");
  }
  return spiffeId.slice(prefix.length);
}

/** Writes the context. A reader sees all of it or nothing: the link is replaced when the files are there. */
function install(shopping, context, invitation, answer, key, identity) {
  const bundle = shopping.TrustBundle.deserialize(answer.trust.bundle);
  const live = path.join(context, "live");
  const replaces = existsSync(live);
  const number = replaces ? Number(path.basename(readlinkSync(live))) + 1 : 1;
  const generation = path.join(context, "gen", `${number}`);
  mkdirSync(generation, { recursive: true, mode: 0o700 });
  const pem = (label, bytes) => `-----BEGIN ${label}-----\n${bytes.toString("base64").replace(/.{64}/g, "$&\n").trimEnd()}\n-----END ${label}-----\n`;
  write(path.join(generation, "party.pem"), pem("CERTIFICATE", answer.certificate), 0o644);
  write(path.join(generation, "party.key"), pemOf(key), 0o600);
  write(path.join(generation, "ca.pem"), bundle.roots.map((root) => pem("CERTIFICATE", root)).join(""), 0o644);
  write(path.join(generation, "crl.pem"), bundle.crls.map((list) => pem("X509 CRL", list)).join(""), 0o644);
  write(path.join(generation, "trust.bin"), shopping.SignedTrustBundle.serialize(answer.trust), 0o644);
  const description = {
    ...identity, name: answer.name, market: bundle.markets,
    authority: bundle.authorities.length > 0 ? bundle.authorities : [invitation.authority],
    invitation: invitation.id.toString("hex"), ephemeral: answer.ephemeral ?? false,
  };
  // Texts, lists of texts and booleans are written alike in TOML and JSON.
  const text = Object.entries(description).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`).join("");
  const describe = () => write(path.join(context, "context.toml"), text, 0o644);
  if (!replaces) describe();
  const link = path.join(context, ".live.new");
  rmSync(link, { force: true });
  symlinkSync(path.join("gen", `${number}`), link);
  renameSync(link, live);
  // Of a context that had a certificate of an earlier invitation, only now.
  if (replaces) describe();
}
