//! Tokens as the server takes them (JWT, RFC 7519, signed with HMAC-SHA-256), and as it must not take them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// What a token says of its holder.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// The account.
    pub user: &'a str,
    /// Until when, in seconds since 1970; [`None`] leaves it out.
    pub expires_s: Option<i64>,
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn unsigned(algorithm: &str, claims: Claims<'_>) -> String {
    let mut body = json!({ "username": claims.user });
    if let Some(expires_s) = claims.expires_s {
        body["exp"] = json!(expires_s);
    }
    format!("{}.{}", part(&json!({ "alg": algorithm, "typ": "JWT" })), part(&body))
}

/// A token that is signed with this secret.
pub fn signed(claims: Claims<'_>, secret: &str) -> String {
    let text = unsigned("HS256", claims);
    // HMAC takes keys of any length.
    let signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mac| mac.chain_update(text.as_bytes()).finalize().into_bytes());
    format!("{text}.{}", signature.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default())
}

/// A token that says of itself that it needs no signature.
pub fn without_signature(claims: Claims<'_>) -> String {
    format!("{}.", unsigned("none", claims))
}

/// The token with another holder under the old signature.
pub fn forged(token: &str, claims: Claims<'_>) -> String {
    let signature = token.rsplit('.').next().unwrap_or_default();
    format!("{}.{signature}", unsigned("HS256", claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7515, appendix A.1, has other white space; this one is the widely used example of an HS256 token.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let text = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ";
        let mac = Hmac::<Sha256>::new_from_slice(b"your-256-bit-secret").unwrap().chain_update(text).finalize().into_bytes();
        assert_eq!(URL_SAFE_NO_PAD.encode(mac), "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c");
        assert!(signed(Claims { user: "a", expires_s: Some(1) }, "s").starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."));
    }

    #[test]
    fn a_forged_token_keeps_the_signature_and_changes_the_holder() {
        let token = signed(Claims { user: "a", expires_s: Some(1) }, "s");
        let forged = forged(&token, Claims { user: "b", expires_s: Some(1) });
        assert_ne!(token, forged);
        assert_eq!(token.rsplit('.').next(), forged.rsplit('.').next());
    }
}
