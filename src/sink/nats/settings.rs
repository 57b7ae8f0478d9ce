//! The settings of a NATS sink.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::ServerAddr;
use serde::Deserialize;

use super::chain::Markers;
use super::preset::{self, Preset};
use crate::error::{Error, ErrorKind};
use crate::event::ImageSettings;
use crate::format::{Format, Template};
use crate::secret::Secret;

/// Settings of a NATS JetStream sink. Every key has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The servers of one NATS cluster, as URLs (`nats://` or `tls://`), separated by commas.
    pub servers: Servers,
    /// The first part of every subject. May hold dots.
    pub prefix: String,
    /// The JetStream stream that takes all records. One stream, one connector.
    pub stream: String,
    /// What the stream is for.
    pub preset: Preset,
    /// The subject of a record; begins with `{prefix}.` and may hold `{db}`, `{coll}`, `{id}` and `{op}`. By default
    /// `{prefix}.{db}.{coll}`, and with the preset `latest` `{prefix}.{db}.{coll}.{id}`.
    pub subject: Option<String>,
    /// How events are written.
    pub format: Format,
    /// Whether the `mongodb` formats have what change streams show with `showExpandedEvents`.
    pub expanded_events: bool,
    /// Which images events have.
    pub images: ImageSettings,
    /// Whether a namespace's manifest is published before its first event, and when it changes: on the subject
    /// `{prefix}._namespaces.{db}.{coll}`.
    pub manifest: bool,
    /// Whether to create the stream where it is missing. A stream that exists is never changed.
    pub create_stream: bool,
    /// How many servers keep a stream that is created, 1 to 5.
    pub replicas: usize,
    /// How long a stream that is created keeps its messages, in seconds; 0: for ever.
    pub max_age_seconds: u64,
    /// How many bytes a stream that is created keeps, the newest; 0: all.
    pub max_bytes: u64,
    /// How long a deleted document's marker is kept in the preset `latest`, in seconds; 0: for ever. Needs NATS 2.11.
    pub marker_seconds: u64,
    /// The user's name, for authentication by name and password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// The token, for authentication by token.
    pub token: Option<Secret>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// The user's JWT, for decentralised authentication; needs its NKey's seed. A credentials file holds both.
    pub jwt: Option<Secret>,
    /// A file that holds the user's JWT.
    pub jwt_file: Option<PathBuf>,
    /// The seed of an NKey (`SU…`), for authentication by NKey.
    pub nkey_seed: Option<Secret>,
    /// A file that holds the seed of an NKey.
    pub nkey_seed_file: Option<PathBuf>,
    /// A credentials file with a JWT and its seed, for decentralised authentication.
    pub credentials_file: Option<PathBuf>,
    /// Encryption.
    pub tls: Tls,
    /// The JetStream domain, where the stream lives behind a leaf node.
    pub jetstream_domain: Option<String>,
    /// The first part of the subjects on which answers arrive, where permissions demand another than `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// For how long the server may confirm nothing while records wait for it, in milliseconds; then the connection is given up.
    pub ack_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Servers::default(),
            prefix: "mongo".to_owned(),
            stream: "MONGO".to_owned(),
            preset: Preset::default(),
            subject: None,
            format: Format::default(),
            expanded_events: false,
            images: ImageSettings::default(),
            manifest: true,
            create_stream: true,
            replicas: 1,
            max_age_seconds: 0,
            max_bytes: 0,
            marker_seconds: 0,
            user: None,
            password: None,
            password_file: None,
            token: None,
            token_file: None,
            jwt: None,
            jwt_file: None,
            nkey_seed: None,
            nkey_seed_file: None,
            credentials_file: None,
            tls: Tls::default(),
            jetstream_domain: None,
            inbox_prefix: None,
            ack_timeout_ms: 10_000,
        }
    }
}

/// How the connection is encrypted. A server that demands TLS gets it without any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The authorities to trust, as PEM; by default those of the system.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, as PEM; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The client's private key, as PEM.
    pub key_file: Option<PathBuf>,
    /// Refuse a server without TLS.
    pub required: bool,
    /// Encrypt before the server's first word, as servers with `handshake_first` demand.
    pub handshake_first: bool,
}

/// How the connector proves who it is.
#[derive(Debug)]
pub(super) enum Auth<'a> {
    Nobody,
    Password(&'a str, Secret),
    Token(Secret),
    NKey(Secret),
    /// A user's JWT, and the seed of its NKey.
    Jwt(Secret, Secret),
    Credentials(&'a Path),
}

impl Settings {
    /// Refuses settings that can't work, naming the key.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_names()?;
        self.check_auth()?;
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            return Err(refuse("tls", "`cert_file` and `key_file` go together"));
        }
        if !(1..=5).contains(&self.replicas) {
            return Err(refuse("replicas", format_args!("{} is not between 1 and 5", self.replicas)));
        }
        if i64::try_from(self.max_bytes).is_err() {
            return Err(refuse("max_bytes", format_args!("{} is too large", self.max_bytes)));
        }
        if let Some((key, why)) = preset::contradiction(self) {
            return Err(refuse(key, why));
        }
        if self.ack_timeout_ms == 0 {
            return Err(refuse("ack_timeout_ms", "must not be 0"));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Error> {
        check_subject("prefix", &self.prefix)?;
        if let Some(prefix) = &self.inbox_prefix {
            check_subject("inbox_prefix", prefix)?;
        }
        if self.prefix.starts_with(['$', '_']) {
            return Err(refuse("prefix", "subjects that begin with `$` or `_` are the server's own"));
        }
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
        if self.stream.is_empty() || self.stream.len() > 255 || self.stream.contains(forbidden) {
            return Err(refuse("stream", format_args!("`{}` is not the name of a stream", self.stream)));
        }
        self.template()?.check_subject(&self.prefix).map_err(|error| refuse("subject", error))?;
        if !self.subject_template().starts_with("{prefix}.") {
            return Err(refuse("subject", "must begin with `{prefix}.`: the stream takes no other subjects"));
        }
        if self.subject_template().starts_with("{prefix}._") {
            return Err(refuse("subject", "what begins with `_` behind the prefix is the connector's own"));
        }
        Ok(())
    }

    fn check_auth(&self) -> Result<(), Error> {
        let has_password = one_of("password", self.password.as_ref(), self.password_file.as_ref())?;
        let has_token = one_of("token", self.token.as_ref(), self.token_file.as_ref())?;
        let has_seed = one_of("nkey_seed", self.nkey_seed.as_ref(), self.nkey_seed_file.as_ref())?;
        let has_jwt = one_of("jwt", self.jwt.as_ref(), self.jwt_file.as_ref())?;
        if self.user.is_some() != has_password {
            return Err(refuse("user", "`user` and `password` go together"));
        }
        if has_jwt && !has_seed {
            return Err(refuse(
                "jwt",
                "needs `nkey_seed` or `nkey_seed_file`: the server asks for a signature",
            ));
        }
        let ways = [has_password, has_token, has_seed, self.credentials_file.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(refuse(
                "user",
                "use one of `user` with `password`, `token`, `nkey_seed` and `credentials_file`",
            ));
        }
        Ok(())
    }

    /// How to authenticate. Reads the files that hold secrets, so that rotated ones are seen.
    pub(super) fn auth(&self) -> Result<Auth<'_>, Error> {
        if let Some(user) = &self.user {
            let password =
                Secret::resolve(self.password.as_ref(), self.password_file.as_deref(), "password_file")?;
            return Ok(Auth::Password(user, password.unwrap_or_default()));
        }
        if let Some(token) = Secret::resolve(self.token.as_ref(), self.token_file.as_deref(), "token_file")? {
            return Ok(Auth::Token(token));
        }
        let seed =
            Secret::resolve(self.nkey_seed.as_ref(), self.nkey_seed_file.as_deref(), "nkey_seed_file")?;
        let jwt = Secret::resolve(self.jwt.as_ref(), self.jwt_file.as_deref(), "jwt_file")?;
        match (jwt, seed) {
            (Some(jwt), Some(seed)) => return Ok(Auth::Jwt(jwt, seed)),
            (_, Some(seed)) => return Ok(Auth::NKey(seed)),
            (_, None) => {}
        }
        Ok(self.credentials_file.as_deref().map_or(Auth::Nobody, Auth::Credentials))
    }

    /// Whether each message must hold the whole document: the one before it is forgotten.
    pub fn needs_full_images(&self) -> bool {
        self.preset == Preset::Latest
    }

    /// How deletes are marked, if they are.
    pub(super) fn markers(&self) -> Option<Markers> {
        (self.preset == Preset::Latest).then(|| Markers::new(self.marker_seconds))
    }

    /// The template of the subjects, as text.
    pub(super) fn subject_template(&self) -> &str {
        self.subject.as_deref().unwrap_or(self.preset.subject())
    }

    /// The template of the subjects.
    pub(super) fn template(&self) -> Result<Template, Error> {
        self.subject_template().parse().map_err(|error| refuse("subject", error))
    }

    /// All subjects that the stream has to take.
    pub(super) fn subjects(&self) -> String {
        format!("{}.>", self.prefix)
    }

    pub(super) fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }
}

/// The addresses of the servers of one cluster. Never holds credentials: those have their own keys.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Servers(Vec<ServerAddr>);

impl Servers {
    pub(super) fn addresses(&self) -> &[ServerAddr] {
        &self.0
    }
}

impl Default for Servers {
    fn default() -> Self {
        "nats://127.0.0.1:4222".to_owned().try_into().expect("an address")
    }
}

impl TryFrom<String> for Servers {
    type Error = String;

    // The text may hold a password: no message repeats it.
    fn try_from(text: String) -> Result<Self, String> {
        let parse = |(number, address): (usize, &str)| {
            let place = number + 1;
            let address: ServerAddr = address
                .trim()
                .parse()
                .map_err(|error| format!("address {place} of the servers is wrong: {error}"))?;
            if address.username().is_some() || address.password().is_some() {
                return Err(format!(
                    "address {place} of the servers holds credentials: use the keys `user` and `password`"
                ));
            }
            if address.is_websocket() {
                return Err(format!("address {place} of the servers is a WebSocket: use nats:// or tls://"));
            }
            Ok(address)
        };
        text.split(',').enumerate().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, address) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{}:{}", address.host(), address.port())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a secret is given, by value or by file.
fn one_of(key: &str, value: Option<&Secret>, file: Option<&PathBuf>) -> Result<bool, Error> {
    match (value, file) {
        (Some(_), Some(_)) => Err(refuse(key, format_args!("use `{key}` or `{key}_file`, not both"))),
        (value, file) => Ok(value.is_some() || file.is_some()),
    }
}

/// A subject without wildcards.
fn check_subject(key: &str, subject: &str) -> Result<(), Error> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "*>{}".contains(c);
    if subject.split('.').any(str::is_empty) || subject.contains(forbidden) {
        return Err(refuse(key, format_args!("`{subject}` is not a subject")));
    }
    Ok(())
}

fn refuse(key: &str, why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{Auth, Preset, Servers, Settings};
    use crate::error::ErrorKind;

    fn refused(settings: &Settings) -> String {
        let error = settings.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.what().to_owned()
    }

    #[test]
    fn the_defaults_are_valid() {
        Settings::default().validate().unwrap();
    }

    #[test]
    fn what_is_refused_names_its_key() {
        let base = Settings::default;
        let latest = || Settings { preset: Preset::Latest, ..base() };
        latest().validate().unwrap();
        let cases = [
            ("prefix", Settings { prefix: "a b".into(), ..base() }),
            ("prefix", Settings { prefix: "$JS".into(), ..base() }),
            ("prefix", Settings { prefix: "a..b".into(), ..base() }),
            ("stream", Settings { stream: "a.b".into(), ..base() }),
            ("subject", Settings { subject: Some("other.{db}".into()), ..base() }),
            ("subject", Settings { subject: Some("{prefix}.{db}..{coll}".into()), ..base() }),
            ("subject", Settings { subject: Some("{prefix}._namespaces.{db}.{coll}".into()), ..base() }),
            ("subject", Settings { prefix: "x".repeat(300), ..base() }),
            ("subject", Settings { subject: Some("{prefix}.{coll}.{id}".into()), ..latest() }),
            ("subject", Settings { subject: Some("{prefix}.{db}.{coll}.{id}.{op}".into()), ..latest() }),
            ("max_age_seconds", Settings { max_age_seconds: 1, ..latest() }),
            ("max_bytes", Settings { max_bytes: 1, ..latest() }),
            ("marker_seconds", Settings { marker_seconds: 1, ..base() }),
            ("jwt", Settings { jwt: Some("eyJ".into()), ..base() }),
            ("replicas", Settings { replicas: 6, ..base() }),
            ("user", Settings { user: Some("a".into()), ..base() }),
            ("user", Settings { token: Some("t".into()), credentials_file: Some("c".into()), ..base() }),
            ("token", Settings { token: Some("t".into()), token_file: Some("f".into()), ..base() }),
            ("inbox_prefix", Settings { inbox_prefix: Some("a.>".into()), ..base() }),
        ];
        for (key, settings) in cases {
            assert!(refused(&settings).starts_with(key), "{key}: {}", refused(&settings));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = Settings { token: Some("hidden".into()), ..Settings::default() };
        assert!(!format!("{settings:?}").contains("hidden"));
        let error = Servers::try_from("nats://me:hidden@127.0.0.1".to_owned()).unwrap_err();
        assert!(error.contains("`password`") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from the file\n").unwrap();
        let settings = Settings { token_file: Some(file.path().into()), ..Settings::default() };
        let Auth::Token(token) = settings.auth().unwrap() else { panic!("a token") };
        assert_eq!(token.expose(), "from the file");
        let missing = Settings { token_file: Some("/none/such".into()), ..Settings::default() };
        assert!(missing.auth().unwrap_err().what().starts_with("`token_file`"));
    }

    #[test]
    fn several_servers_may_be_given() {
        let servers = Servers::try_from("nats://a:1, tls://b".to_owned()).unwrap();
        assert_eq!(servers.to_string(), "a:1, b:4222");
    }
}
