//! Tokens for SASL OAUTHBEARER, from a file that somebody else keeps fresh.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// How long a token that doesn't tell its end is used before the file is read again.
const OPAQUE_LIFETIME: Duration = Duration::from_secs(300);

/// What a JSON Web Token says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    /// The user; brokers read it from the token itself.
    sub: Option<String>,
    /// When it ends, in seconds since 1970.
    exp: Option<f64>,
}

/// Reads the token that the file holds now. librdkafka asks again when four fifths of its life are over. The error never shows it.
pub(super) fn read(file: &Path) -> Result<OAuthToken, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("can't read the token file {}: {error}", file.display()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the token file {} holds no token", file.display()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = claims(token).unwrap_or_default();
    let lifetime_ms = claims.exp.map_or_else(
        || i64::try_from((now + OPAQUE_LIFETIME).as_millis()).unwrap_or(i64::MAX),
        |seconds| (seconds * 1000.0) as i64,
    );
    if u128::try_from(lifetime_ms).unwrap_or_default() <= now.as_millis() {
        return Err(format!("the token in {} has expired", file.display()));
    }
    Ok(OAuthToken { token: token.to_owned(), principal_name: claims.sub.unwrap_or_default(), lifetime_ms })
}

/// The middle part of a JSON Web Token; none for tokens of other kinds.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    fn jwt(claims: &str) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.", part(r#"{"alg":"none"}"#), part(claims))
    }

    #[test]
    fn a_web_token_tells_its_user_and_its_end() {
        let token = written(&format!("{}\n", jwt(r#"{"sub":"me","exp":32503680000}"#))).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("me", 32_503_680_000_000));
        assert!(!token.token.ends_with('\n'));
    }

    #[test]
    fn another_token_is_read_again_soon() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let left = written("opaque").unwrap().lifetime_ms - now;
        assert!((290_000..=301_000).contains(&left), "{left}");
    }

    #[test]
    fn what_is_no_token_is_refused_without_showing_it() {
        let expired = written(&jwt(r#"{"sub":"canary","exp":1000}"#)).err().unwrap();
        assert!(expired.contains("expired") && !expired.contains("canary"), "{expired}");
        for text in ["", "two\nlines canary", "nul\0canary"] {
            let refused = written(text).err().unwrap();
            assert!(refused.contains("holds no token") && !refused.contains("canary"), "{refused}");
        }
        assert!(read(Path::new("/none/such")).err().unwrap().contains("/none/such"));
    }
}
