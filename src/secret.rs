//! Values that are never shown: passwords, tokens, and URIs that may hold one.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind};

/// What is shown in a secret's place.
const HIDDEN: &str = "***";

/// A text that no log, no error and no metric shows: every way to print it gives `***`, and it lets nobody compare it.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps that text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the client that needs it. Whoever calls this must not print it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The secret that a pair of keys such as `password` and `password_file` gives; the file wins where both are given.
    ///
    /// Files are read anew by each call, so a secret that is rotated on disk is used from the next connection on. The line break that
    /// editors leave at the end is no part of the secret. `key` is the file's key, for the error.
    pub fn resolve(value: Option<&Self>, file: Option<&Path>, key: &str) -> Result<Option<Self>, Error> {
        let Some(file) = file else { return Ok(value.cloned()) };
        let text = std::fs::read_to_string(file).map_err(|error| {
            Error::caused(ErrorKind::Config, format!("`{key}`: can't read {}", file.display()), error)
        })?;
        Ok(Some(Self::new(text.trim_end_matches(['\r', '\n']))))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Takes text only, and refuses anything else without repeating it, as serde's own messages would.
struct SecretVisitor;

impl SecretVisitor {
    fn refuse<E: de::Error>() -> E {
        E::custom("must be text: put it in quotes")
    }
}

impl de::Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(Self::refuse())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(Self::refuse())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(Self::refuse())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(Self::refuse())
    }
}

/// A connection string as it may be shown: scheme and hosts, without credentials, path and options.
pub fn shown_uri(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    // Credentials end at the last `@`: people forget to escape those in their passwords, and a `/` or `?` there too.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    if scheme.is_empty() { hosts.to_owned() } else { format!("{scheme}://{hosts}") }
}

#[cfg(test)]
mod tests {
    use super::{Secret, shown_uri};

    #[test]
    fn no_way_to_print_a_secret_shows_it() {
        let secret = Secret::new("canary");
        let printed = format!("{secret} {secret:?} {:?} {}", Some(&secret), serde_json::json!(secret));
        assert!(!printed.contains("canary"), "{printed}");
        assert_eq!(secret.expose(), "canary");
    }

    #[test]
    fn a_secret_of_another_type_is_refused_without_showing_it() {
        for wrong in ["4711", "-4711", "4711.5"] {
            let refused = serde_json::from_str::<Secret>(wrong).expect_err(wrong).to_string();
            assert!(refused.contains("quotes") && !refused.contains("4711"), "{refused}");
        }
    }

    #[test]
    fn a_file_wins_and_loses_its_final_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, " from file \r\n").unwrap();
        let value = Secret::new("value");
        let resolve = |file| Secret::resolve(Some(&value), file, "x.password_file");
        assert_eq!(resolve(Some(file.as_path())).unwrap().unwrap().expose(), " from file ");
        assert_eq!(resolve(None).unwrap().unwrap().expose(), "value");
        let missing = resolve(Some(&dir.path().join("none"))).unwrap_err().to_string();
        assert!(missing.contains("`x.password_file`") && missing.contains("none"), "{missing}");
    }

    #[test]
    fn a_uri_is_shown_without_credentials_and_options() {
        for (uri, shown) in [
            ("mongodb://a:1,b:2/db?replicaSet=rs0", "mongodb://a:1,b:2"),
            ("mongodb+srv://user:pa@ss/w?rd@host/?tls=true", "mongodb+srv://host"),
            ("mongodb://host?x=1", "mongodb://host"),
            ("host:27017", "host:27017"),
            ("", ""),
        ] {
            assert_eq!(shown_uri(uri), shown, "{uri}");
        }
    }
}
