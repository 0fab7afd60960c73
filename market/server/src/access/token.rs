//! Access tokens: JWTs (RFC 9068) bound to a certificate (RFC 8705), signed with Ed25519.

use std::{
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    crypto::{CryptoProvider, aws_lc},
    decode, decode_header, encode,
};
use serde::{Deserialize, Serialize};
use souk_certs::identity::{Identity, PeerCertificate, TrustDomain};
use souk_domain::{PartyId, Role, Timestamp};
use uuid::Uuid;

use super::{TokenInfo, TokenKeys, keys::OwnKey};

/// Lifetime of a token. A replaced signing key must be kept for verification this long.
pub const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// Tolerated difference between the clocks of two markets, in seconds.
const LEEWAY_SECONDS: i64 = 30;
const TOKEN_TYPE: &str = "at+jwt";
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Cache key of a verified token; see [`token_print`].
pub(super) type TokenPrint = [u8; 32];

/// Issues and verifies tokens.
pub struct Tokens {
    pub(super) keys: ArcSwap<TokenKeys>,
    /// The keys of all markets on the store, with their ids.
    published: ArcSwap<Vec<(String, DecodingKey)>>,
    generation: AtomicU64,
    issuer: String,
    audience: String,
}

/// A newly issued token.
pub struct IssuedToken {
    /// The encoded JWT, a secret.
    pub token: TokenText,
    /// When it was issued, in whole seconds.
    pub issued_at: Timestamp,
    /// When it expires, in whole seconds.
    pub expires_at: Timestamp,
}

/// An encoded token. The type has no `Debug` or `Display`, so that it can't be logged by mistake.
pub struct TokenText(String);

impl TokenText {
    /// Returns the token, to be sent to its owner only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The claims of a token whose signature and binding have been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The party to which the token was issued (claim `sub`).
    pub party: PartyId,
    /// The party's role (claim `role`).
    pub role: Role,
    /// The party's epoch when the token was issued (claim `epoch`).
    pub epoch: i64,
    /// The later of the claims `nbf` and `iat`.
    pub not_before: Timestamp,
    /// The token's id and times, for handlers.
    pub info: TokenInfo,
}

/// Signing a token failed, which indicates a bug.
#[derive(Debug, thiserror::Error)]
#[error("can't sign a token: {0}")]
pub struct TokenError(#[from] jsonwebtoken::errors::Error);

/// Why a token is not accepted. A caller learns only whether it is invalid or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The token is not a JWT, or a claim is missing, of the wrong type or inconsistent.
    #[error("malformed")]
    Malformed,
    /// The header has a wrong algorithm or type, an unknown key, or a field that would affect verification.
    #[error("header")]
    Header,
    /// The signature does not match the key that the token names.
    #[error("signature")]
    Signature,
    /// The token has another issuer or audience.
    #[error("issuer or audience")]
    Audience,
    /// The token's `nbf` or `iat` is in the future, beyond the leeway.
    #[error("not yet valid")]
    NotYet,
    /// The token's `exp` has passed, including the leeway.
    #[error("expired")]
    Expired,
    /// The token was issued to another certificate, party or role.
    #[error("binding")]
    Binding,
    /// The token was issued in another epoch of the party.
    #[error("epoch")]
    Epoch,
}

/// The claims. All of them are mandatory: a missing one or one of another type fails deserialization.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    role: Role,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
    epoch: i64,
    cnf: Confirmation,
}

/// The claim `cnf`, which binds the token to a certificate (RFC 8705 §3.1).
#[derive(Serialize, Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

impl Tokens {
    /// Creates the issuer and verifier for the markets of a trust domain.
    pub fn new(keys: TokenKeys, domain: &TrustDomain) -> Self {
        install_crypto();
        let market = Identity::Market.spiffe_id(domain);
        Self {
            keys: ArcSwap::from_pointee(keys),
            published: ArcSwap::default(),
            generation: AtomicU64::new(0),
            issuer: market.clone(),
            audience: market,
        }
    }

    /// Replaces the keys. Returns whether tokens that were valid before may be invalid now.
    pub fn replace_keys(&self, keys: TokenKeys) -> bool {
        // The keys before the generation: a verification that starts with the new generation then uses the new
        // keys. The other order could cache a result of the old keys as one of the new.
        let before = self.keys.swap(Arc::new(keys));
        self.generation.fetch_add(1, Ordering::Release);
        !before.accepts_the_same_as(&self.keys.load())
    }

    /// Replaces the keys that other markets have published. Returns whether tokens that were valid before may be invalid
    /// now.
    pub(super) fn replace_published(&self, keys: Vec<(String, DecodingKey)>) -> bool {
        let before = self.published.swap(Arc::new(keys));
        let lost = before.iter().any(|(id, _)| !self.knows(id));
        if lost {
            self.generation.fetch_add(1, Ordering::Release);
        }
        lost
    }

    /// Returns the public half of the key that signs tokens.
    pub(crate) fn own_key(&self) -> OwnKey {
        self.keys.load().own()
    }

    /// Returns whether a token is well formed but names a key that is not known, so that it may be another market's.
    pub(super) fn names_unknown_key(&self, token: &str) -> bool {
        let header = decode_header(token).ok().filter(|header| check_header(header).is_ok());
        header.and_then(|header| header.kid).is_some_and(|id| !self.knows(&id))
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.keys.load().verifying(id).is_some() || published(&self.published.load(), id).is_some()
    }

    /// Returns how often the keys have been replaced.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Issues a token that is valid only together with this certificate. The token has a unique id.
    pub fn issue(
        &self,
        certificate: &PeerCertificate,
        party: PartyId,
        role: Role,
        epoch: i64,
        (now, id): (Timestamp, Uuid),
    ) -> Result<IssuedToken, TokenError> {
        // Whole seconds, as other JWT libraries expect. Rounded down, so that a token is valid at once.
        let iat = now.0.div_euclid(MICROS_PER_SECOND);
        let exp = iat + TOKEN_LIFE.as_secs().cast_signed();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: party.0,
            role,
            iat,
            nbf: iat,
            exp,
            jti: id,
            epoch,
            cnf: Confirmation { thumbprint: URL_SAFE_NO_PAD.encode(certificate.thumbprint()) },
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        let keys = self.keys.load();
        header.kid = Some(keys.signing_id.clone());
        let token = TokenText(encode(&header, &claims, &keys.signing)?);
        Ok(IssuedToken { token, issued_at: seconds(iat), expires_at: seconds(exp) })
    }

    /// Verifies a token received over a connection with this certificate: header, signature, claims and binding.
    ///
    /// The result does not depend on the time, so it can be cached. Expiry and epoch are checked by
    /// [`VerifiedToken::is_good_at`].
    pub fn verify(&self, token: &str, certificate: &PeerCertificate) -> Result<VerifiedToken, TokenFault> {
        let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
        check_header(&header)?;
        let (keys, others) = (self.keys.load(), self.published.load());
        let key = header.kid.as_deref().and_then(|id| keys.verifying(id).or_else(|| published(&others, id)));
        let key = key.ok_or(TokenFault::Header)?;
        let claims = decode::<Claims>(token, key, &validation()).map_err(fault)?.claims;
        if claims.iss != self.issuer || claims.aud != self.audience {
            return Err(TokenFault::Audience);
        }
        let bound = URL_SAFE_NO_PAD.encode(certificate.thumbprint());
        // The thumbprint implies party and role. They are compared too, so that no claim can contradict the certificate.
        if claims.cnf.thumbprint != bound
            || certificate.identity().uuid() != Some(claims.sub)
            || certificate.identity().role().as_str() != claims.role.as_str()
        {
            return Err(TokenFault::Binding);
        }
        // A longer life than this market would grant means that the key was misused or is shared with another
        // issuer.
        let life = claims.exp.checked_sub(claims.iat);
        let is_ours = life.is_some_and(|life| (0..=TOKEN_LIFE.as_secs().cast_signed()).contains(&life));
        if claims.nbf > claims.exp || !is_ours {
            return Err(TokenFault::Malformed);
        }
        let info =
            TokenInfo { id: claims.jti, issued_at: seconds(claims.iat), expires_at: seconds(claims.exp) };
        let not_before = seconds(claims.iat.max(claims.nbf));
        Ok(VerifiedToken {
            party: PartyId(claims.sub),
            role: claims.role,
            epoch: claims.epoch,
            not_before,
            info,
        })
    }
}

impl VerifiedToken {
    /// Checks what changes over time: whether the token is valid at `now`, and of this epoch.
    pub fn is_good_at(&self, now: Timestamp, epoch: i64) -> Result<(), TokenFault> {
        let leeway = LEEWAY_SECONDS * MICROS_PER_SECOND;
        // Leeway on both ends: another market may have issued the token, and its clock may differ from ours.
        if now.0 >= self.info.expires_at.0.saturating_add(leeway) {
            return Err(TokenFault::Expired);
        }
        if now.0.saturating_add(leeway) < self.not_before.0 {
            return Err(TokenFault::NotYet);
        }
        // A later epoch is refused too: no token of it exists yet. If another market has raised the epoch and this one is
        // still to be notified, the party fetches a token here, which takes the epoch from the store.
        if self.epoch != epoch {
            return Err(TokenFault::Epoch);
        }
        Ok(())
    }
}

/// Returns the cache key of a verified token: the SHA-256 of the key generation, the certificate and the token.
/// Including the certificate keeps a token verified on one connection from being accepted on another.
pub(super) fn token_print(token: &str, certificate: &PeerCertificate, keys: u64) -> TokenPrint {
    let mut context = digest::Context::new(&digest::SHA256);
    // With the generation, a token whose verification overlaps a change of keys is cached only for the old keys.
    context.update(&keys.to_le_bytes());
    context.update(certificate.thumbprint());
    context.update(token.as_bytes());
    let mut print = [0; 32];
    print.copy_from_slice(context.finish().as_ref());
    print
}

/// Finds a key by its id. A scan, because there are a few.
fn published<'a>(keys: &'a [(String, DecodingKey)], id: &str) -> Option<&'a DecodingKey> {
    keys.iter().find(|(known, _)| known == id).map(|(_, key)| key)
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(MICROS_PER_SECOND))
}

/// Checks the header. Apart from naming one of our keys, a token must not influence how it is verified: that enables
/// attacks such as algorithm confusion or attacker-supplied keys (RFC 8725 §2.1, §3.1).
fn check_header(header: &Header) -> Result<(), TokenFault> {
    let plain = header.alg == Algorithm::EdDSA
        && header.typ.as_deref() == Some(TOKEN_TYPE)
        && header.crit.is_none()
        && header.jku.is_none()
        && header.jwk.is_none()
        && header.x5u.is_none()
        && header.x5c.is_none();
    if plain { Ok(()) } else { Err(TokenFault::Header) }
}

/// Lets the library check only the signature. It would compare claims with the system clock; they are checked in this
/// module against the time that is passed in.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    // `Claims` itself makes every claim mandatory.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn fault(error: jsonwebtoken::errors::Error) -> TokenFault {
    match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenFault::Signature,
        jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => TokenFault::Header,
        _ => TokenFault::Malformed,
    }
}

/// Installs jsonwebtoken's crypto back end, which is process-wide; without one it panics at first use.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that one is already installed.
        let _ = CryptoProvider::install_default(&aws_lc::DEFAULT_PROVIDER);
    });
}
