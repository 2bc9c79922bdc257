//! The two signatures of tokens, HMAC with SHA-256 and Ed25519, in Rust. `jsonwebtoken` has them in Rust too, but only
//! together with RSA, of which the crate has a known weakness (RUSTSEC-2023-0071), and which no token may use here.

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::Sha256;

/// Every other algorithm is refused. The functions of the keys are for RSA and for elliptic curves, and nothing here calls
/// them.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has `jsonwebtoken` sign and verify with these in this process. [`Authenticator::new`](super::Authenticator::new) does it;
/// a program that signs tokens beside the proxy does it before the first. Where the program has installed others, those
/// stay.
pub fn install() {
    // An error says that there are some already.
    let _ = PROVIDER.install_default();
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256::new(key.as_bytes())?)),
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let key = SigningKey::from_pkcs8_der(key.as_bytes());
            Ok(Box::new(Ed25519Signer(key.map_err(|_| ErrorKind::InvalidEddsaKey)?)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?)),
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let key = key.try_get_as_bytes()?.try_into().map_err(|_| ErrorKind::InvalidEddsaKey)?;
            let key = VerifyingKey::from_bytes(key).map_err(|_| ErrorKind::InvalidEddsaKey)?;
            Ok(Box::new(Ed25519Verifier(key)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

/// RFC 7518, section 3.2.
struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(secret: &[u8]) -> Result<Self> {
        Ok(Self(Hmac::new_from_slice(secret).map_err(|_| ErrorKind::InvalidKeyFormat)?))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> core::result::Result<Vec<u8>, Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> core::result::Result<(), Error> {
        // In constant time, and not of a part of it.
        self.0.clone().chain_update(message).verify_slice(signature).map_err(Error::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// RFC 8037.
struct Ed25519Signer(SigningKey);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> core::result::Result<Vec<u8>, Error> {
        Ok(self.0.try_sign(message).map_err(Error::from_source)?.to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(VerifyingKey);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> core::result::Result<(), Error> {
        let signature = Signature::from_slice(signature).map_err(Error::from_source)?;
        // Refuses keys of small order too, for which one signature fits many messages.
        self.0.verify_strict(message, &signature).map_err(Error::from_source)
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::crypto::{sign, verify};

    /// RFC 7515, appendix A.1.
    #[test]
    fn hs256_is_that_of_the_rfc() {
        install();
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let message =
            b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0\
                        dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
        let private = EncodingKey::from_secret(&secret);
        assert_eq!(sign(message, &private, Algorithm::HS256).unwrap(), signature);
        let public = DecodingKey::from_secret(&secret);
        assert!(verify(signature, message, &public, Algorithm::HS256).unwrap());
        assert!(!verify(signature, b"another", &public, Algorithm::HS256).unwrap());
        assert!(
            !verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjQ", message, &public, Algorithm::HS256)
                .unwrap()
        );
        assert!(!verify("", message, &public, Algorithm::HS256).unwrap());
    }

    /// RFC 8037, appendices A.4 and A.5.
    #[test]
    fn eddsa_is_that_of_the_rfc() {
        install();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let public = DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert!(verify(signature, message, &public, Algorithm::EdDSA).unwrap());
        assert!(!verify(signature, b"another", &public, Algorithm::EdDSA).unwrap());
    }

    #[test]
    fn another_algorithm_or_the_key_of_another_is_refused() {
        install();
        let secret = EncodingKey::from_secret(b"secret");
        let public = DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let short = DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ").unwrap();
        for algorithm in [Algorithm::EdDSA, Algorithm::HS384, Algorithm::RS256, Algorithm::ES256] {
            sign(b"message", &secret, algorithm).unwrap_err();
        }
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::RS256, Algorithm::ES256] {
            verify("", b"message", &public, algorithm).unwrap_err();
        }
        verify("", b"message", &short, Algorithm::EdDSA).unwrap_err();
    }
}
