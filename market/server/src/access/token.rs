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
    Algorithm, Header, Validation,
    crypto::{CryptoProvider, aws_lc},
    decode, decode_header, encode,
};
use serde::{Deserialize, Serialize};
use souk_certs::identity::{Identity, PeerCertificate, TrustDomain};
use souk_domain::{PartyId, Role, Timestamp};
use uuid::Uuid;

use super::{TokenInfo, TokenKeys};

/// How long a token is good for.
pub const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// How far the clocks of two markets may be apart.
const LEEWAY_SECONDS: i64 = 30;
const TOKEN_TYPE: &str = "at+jwt";
const MICROS_PER_SECOND: i64 = 1_000_000;

/// SHA-256 over a token and the thumbprint of the certificate that it came with.
pub(super) type TokenPrint = [u8; 32];

/// Issues and verifies tokens.
pub struct Tokens {
    pub(super) keys: ArcSwap<TokenKeys>,
    generation: AtomicU64,
    issuer: String,
    audience: String,
}

/// A new token.
pub struct IssuedToken {
    /// The token itself.
    pub token: TokenText,
    /// From when it is good.
    pub issued_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A token that nobody prints by mistake.
pub struct TokenText(String);

impl TokenText {
    /// The token, to be handed to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What a good token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Claim `sub`.
    pub party: PartyId,
    /// Claim `role`.
    pub role: Role,
    /// Claim `epoch`.
    pub epoch: i64,
    /// The later of claims `nbf` and `iat`.
    pub not_before: Timestamp,
    /// Id and times.
    pub info: TokenInfo,
}

/// A token could not be issued, which is a defect.
#[derive(Debug, thiserror::Error)]
#[error("can't sign a token: {0}")]
pub struct TokenError(#[from] jsonwebtoken::errors::Error);

/// Why a token is not good. Callers are told no more than that it is invalid or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a JWT, or a claim is missing or of the wrong type.
    #[error("malformed")]
    Malformed,
    /// Wrong algorithm or type, unknown key, or a header that could change how the token is read.
    #[error("header")]
    Header,
    /// Not signed with the key that it names.
    #[error("signature")]
    Signature,
    /// Of another issuer or for another audience.
    #[error("issuer or audience")]
    Audience,
    /// Not good yet.
    #[error("not yet valid")]
    NotYet,
    /// Not good any more.
    #[error("expired")]
    Expired,
    /// Issued to another certificate, party or role.
    #[error("binding")]
    Binding,
    /// Issued before the party's tokens were shut off.
    #[error("epoch")]
    Epoch,
}

/// All claims; each has to be there, with just this type.
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

/// RFC 8705, section 3.1.
#[derive(Serialize, Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

impl Tokens {
    /// With these keys, for the markets of a trust domain.
    pub fn new(keys: TokenKeys, domain: &TrustDomain) -> Self {
        install_crypto();
        let market = Identity::Market.spiffe_id(domain);
        Self {
            keys: ArcSwap::from_pointee(keys),
            generation: AtomicU64::new(0),
            issuer: market.clone(),
            audience: market,
        }
    }

    /// Signs with other keys from now on. Answers whether tokens that were good may be so no longer.
    pub fn replace_keys(&self, keys: TokenKeys) -> bool {
        let before = self.keys.swap(Arc::new(keys));
        self.generation.fetch_add(1, Ordering::Release);
        !before.accepts_the_same_as(&self.keys.load())
    }

    /// How many times the keys were replaced.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Issues a token that is good together with this certificate only, under an id that no other has.
    pub fn issue(
        &self,
        certificate: &PeerCertificate,
        party: PartyId,
        role: Role,
        epoch: i64,
        (now, id): (Timestamp, Uuid),
    ) -> Result<IssuedToken, TokenError> {
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

    /// Checks a token that came over a connection with this certificate: header, signature, claims and
    /// binding. Time and epoch are left to [`VerifiedToken::is_good_at`], since they change.
    pub fn verify(&self, token: &str, certificate: &PeerCertificate) -> Result<VerifiedToken, TokenFault> {
        let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
        check_header(&header)?;
        let keys = self.keys.load();
        let key = header.kid.as_deref().and_then(|id| keys.verifying(id)).ok_or(TokenFault::Header)?;
        let claims = decode::<Claims>(token, key, &validation()).map_err(fault)?.claims;
        if claims.iss != self.issuer || claims.aud != self.audience {
            return Err(TokenFault::Audience);
        }
        let bound = URL_SAFE_NO_PAD.encode(certificate.thumbprint());
        if claims.cnf.thumbprint != bound
            || certificate.identity().uuid() != Some(claims.sub)
            || certificate.identity().role().as_str() != claims.role.as_str()
        {
            return Err(TokenFault::Binding);
        }
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
    /// Checks what changes with time: whether the token is good now, in this epoch of its party.
    pub fn is_good_at(&self, now: Timestamp, epoch: i64) -> Result<(), TokenFault> {
        let leeway = LEEWAY_SECONDS * MICROS_PER_SECOND;
        if now.0 >= self.info.expires_at.0.saturating_add(leeway) {
            return Err(TokenFault::Expired);
        }
        if now.0.saturating_add(leeway) < self.not_before.0 {
            return Err(TokenFault::NotYet);
        }
        if self.epoch < epoch {
            return Err(TokenFault::Epoch);
        }
        Ok(())
    }
}

/// The key under which a verified token is remembered: good for this certificate alone.
pub(super) fn token_print(token: &str, certificate: &PeerCertificate, keys: u64) -> TokenPrint {
    let mut context = digest::Context::new(&digest::SHA256);
    // A token that was being verified while the keys changed is not remembered for the new ones.
    context.update(&keys.to_le_bytes());
    context.update(certificate.thumbprint());
    context.update(token.as_bytes());
    let mut print = [0; 32];
    print.copy_from_slice(context.finish().as_ref());
    print
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(MICROS_PER_SECOND))
}

/// A token may not say how it is to be checked, beyond the name of one of our own keys.
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

/// The library checks the signature; the claims are checked here, against a time that was passed in.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
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

/// jsonwebtoken has one process-wide back end.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that somebody has installed one before.
        let _ = CryptoProvider::install_default(&aws_lc::DEFAULT_PROVIDER);
    });
}
