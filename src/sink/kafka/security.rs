//! Encryption and authentication, in the words that the other sinks use; librdkafka has others.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::property::loose;
use super::settings::Settings;
use crate::error::{Error, ErrorKind};
use crate::secret::Secret;

/// How the connection is encrypted: any of these switches TLS on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// TLS with the authorities of the system.
    #[serde(deserialize_with = "loose")]
    pub required: bool,
    /// The authorities to trust, as PEM; by default those of the system.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, as PEM; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The client's private key, as PEM.
    pub key_file: Option<PathBuf>,
    /// What the private key is encrypted with.
    pub key_password: Option<Secret>,
    /// A file that holds it; wins over `key_password`.
    pub key_password_file: Option<PathBuf>,
}

impl Tls {
    fn is_on(&self) -> bool {
        self.required || self.ca_file.is_some() || self.cert_file.is_some()
    }
}

/// How user and password are shown to the brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Mechanism {
    /// As they are: for encrypted connections.
    Plain,
    /// By SCRAM-SHA-256, which shows that one knows the password.
    ScramSha256,
    /// By SCRAM-SHA-512.
    #[default]
    ScramSha512,
}

impl Mechanism {
    const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl TryFrom<String> for Mechanism {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(word.trim()))
            .ok_or_else(|| format!("can't be `{word}`: use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// librdkafka's settings for what is configured of this; none where nothing is. Reads the files that hold secrets: called for each
/// connection, so that rotated ones are used. Errors begin with the key.
pub(super) fn properties(settings: &Settings) -> Result<Vec<(&'static str, String)>, Error> {
    let tls = &settings.tls;
    let login = login(settings)?;
    let mut properties = certificates(tls)?;
    let protocol = match (tls.is_on(), login.is_empty()) {
        (false, true) => None,
        (true, true) => Some("SSL"),
        (false, false) => Some("SASL_PLAINTEXT"),
        (true, false) => Some("SASL_SSL"),
    };
    properties.extend(protocol.map(|protocol| ("security.protocol", protocol.to_owned())));
    properties.extend(login);
    for (own, _) in &properties {
        if settings.names(own) {
            let why = "is given by user, token_file or tls, too: leave one of them out";
            return Err(refuse(format_args!("librdkafka.\"{own}\""), why));
        }
    }
    Ok(properties)
}

fn login(settings: &Settings) -> Result<Vec<(&'static str, String)>, Error> {
    let Settings { user, password, password_file, token_file, .. } = settings;
    let password = Secret::resolve(password.as_ref(), password_file.as_deref(), "password_file")?;
    match (user, password, token_file) {
        (None, None, None) => Ok(Vec::new()),
        (Some(user), Some(password), None) => Ok(vec![
            ("sasl.mechanism", settings.sasl_mechanism.name().to_owned()),
            ("sasl.username", user.clone()),
            ("sasl.password", password.expose().to_owned()),
        ]),
        (None, None, Some(_)) if settings.create_topics => Err(refuse(
            "token_file",
            "topics can't be created after a login with a token: set create_topics = false and make them by other means",
        )),
        (None, None, Some(_)) => Ok(vec![("sasl.mechanism", "OAUTHBEARER".to_owned())]),
        (_, _, Some(_)) => Err(refuse("token_file", "use it, or `user` and `password`")),
        (_, _, None) => Err(refuse("user", "`user` and `password` go together")),
    }
}

fn certificates(tls: &Tls) -> Result<Vec<(&'static str, String)>, Error> {
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        return Err(refuse("tls", "`cert_file` and `key_file` go together"));
    }
    let files = [
        ("ca_file", "ssl.ca.location", &tls.ca_file),
        ("cert_file", "ssl.certificate.location", &tls.cert_file),
        ("key_file", "ssl.key.location", &tls.key_file),
    ];
    let mut properties = Vec::new();
    for (key, property, file) in files {
        let Some(file) = file else { continue };
        properties.push((property, readable(key, file)?));
    }
    let password = (tls.key_password.as_ref(), tls.key_password_file.as_deref());
    if let Some(password) = Secret::resolve(password.0, password.1, "tls.key_password_file")? {
        if tls.key_file.is_none() {
            return Err(refuse("tls.key_password", "there is no `key_file` that it could open"));
        }
        properties.push(("ssl.key.password", password.expose().to_owned()));
    }
    Ok(properties)
}

/// The path of a file that can be read: librdkafka's own words say less.
fn readable(key: &str, file: &Path) -> Result<String, Error> {
    if let Err(error) = std::fs::File::open(file) {
        return Err(refuse(
            format_args!("tls.{key}"),
            format_args!("can't read {}: {error}", file.display()),
        ));
    }
    file.to_str().map(str::to_owned).ok_or_else(|| refuse(format_args!("tls.{key}"), "the path is not UTF-8"))
}

fn refuse(key: impl fmt::Display, why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sink::kafka::Property;

    fn settings(value: serde_json::Value) -> Settings {
        serde_json::from_value(value).expect("readable")
    }

    fn found(value: serde_json::Value) -> Vec<(&'static str, String)> {
        properties(&settings(value)).unwrap()
    }

    fn refused(value: serde_json::Value) -> String {
        properties(&settings(value)).unwrap_err().what().to_owned()
    }

    #[test]
    fn nothing_is_set_where_nothing_is_given() {
        assert_eq!(found(json!({ "sasl_mechanism": "plain" })), []);
    }

    #[test]
    fn user_and_password_and_tls_give_the_protocol() {
        let pair = |(key, value): &(&'static str, String)| format!("{key}={value}");
        let login = json!({ "user": "me", "password": "007", "sasl_mechanism": "scram-sha-256" });
        let all: Vec<String> = found(login).iter().map(pair).collect();
        let expected = [
            "security.protocol=SASL_PLAINTEXT",
            "sasl.mechanism=SCRAM-SHA-256",
            "sasl.username=me",
            "sasl.password=007",
        ];
        assert_eq!(all, expected);
        assert_eq!(
            found(json!({ "tls": { "required": "true" } })),
            [("security.protocol", "SSL".to_owned())]
        );
        let both = found(json!({ "user": "me", "password": "x", "tls": { "required": true } }));
        assert!(both.contains(&("security.protocol", "SASL_SSL".to_owned())));
        assert!(both.contains(&("sasl.mechanism", "SCRAM-SHA-512".to_owned())));
    }

    #[test]
    fn a_password_comes_from_a_file_anew_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = settings(json!({ "user": "me", "password_file": file.path() }));
        for password in ["first", "second"] {
            std::fs::write(file.path(), format!("{password}\n")).unwrap();
            assert!(properties(&settings).unwrap().contains(&("sasl.password", password.to_owned())));
        }
    }

    #[test]
    fn what_can_not_be_is_refused_by_its_key() {
        for (value, key) in [
            (json!({ "user": "me" }), "user"),
            (json!({ "password": "x" }), "user"),
            (json!({ "user": "me", "password": "x", "token_file": "t" }), "token_file"),
            (json!({ "token_file": "t" }), "token_file"),
            (json!({ "tls": { "cert_file": "c" } }), "tls"),
            (json!({ "tls": { "ca_file": "/none/such" } }), "tls.ca_file"),
            (json!({ "tls": { "key_password": "x" } }), "tls.key_password"),
            (json!({ "user": "me", "password_file": "/none/such" }), "`password_file`"),
        ] {
            let what = refused(value);
            assert!(what.starts_with(&format!("{key}: ")), "{what}");
        }
        let twice = Settings {
            librdkafka: [("sasl_username".to_owned(), Property::new("you"))].into(),
            ..settings(json!({ "user": "me", "password": "canary" }))
        };
        let what = properties(&twice).unwrap_err().to_string();
        assert!(what.starts_with("librdkafka.\"sasl.username\": ") && !what.contains("canary"), "{what}");
        let unknown = serde_json::from_value::<Settings>(json!({ "sasl_mechanism": "GSSAPI" }));
        assert!(unknown.unwrap_err().to_string().contains("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"));
    }

    #[test]
    fn secrets_are_in_no_debug_form() {
        let settings =
            settings(json!({ "user": "me", "password": "canary", "tls": { "key_password": "canary" } }));
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
