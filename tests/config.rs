//! The configuration: where values come from, which are refused and how, and what the files in `config/` promise.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mongo_observer::config::{Config, Level, LogFormat, Override, Sink, Store};
use mongo_observer::error::ErrorKind;
use mongo_observer::event::Position;
use mongo_observer::format::Format;
use mongo_observer::pipeline::{OnFault, OnTooLarge, Policies, Start};
use tempfile::TempDir;

/// A configuration file with that text, the environment and the flags over it.
struct Given {
    dir: TempDir,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Override>,
}

impl Given {
    fn file(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("some.toml"), text).unwrap();
        Self { dir, environment: Vec::new(), flags: Vec::new() }
    }

    /// A file that has what every configuration needs, and that text.
    fn with_sink(text: &str) -> Self {
        Self::file(&format!("{text}\n[sinks.events]\ntype = \"stdout\"\n"))
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push(Override { flag: format!("--set {key}"), key: key.into(), value: value.into() });
        self
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("some.toml")
    }

    fn try_load(&self) -> Result<Config, mongo_observer::error::Error> {
        Config::load(Some(&self.path()), self.environment.clone(), &self.flags)
    }

    fn load(&self) -> Config {
        self.try_load().unwrap()
    }

    /// The one line that says what is wrong, without directory and advice.
    fn refused(&self) -> String {
        let error = self.try_load().expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::Config);
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        let dir = format!("{}/", self.dir.path().display());
        line.replace(&dir, "").replace(" (correct the configuration)", "")
    }
}

fn file_in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn later_places_are_stronger() {
    let given = Given::with_sink(
        "[source]\nstart = \"earliest\"\n[http]\nlisten = \"file:1\"\n[log]\nlevel = \"warn\"",
    )
    .variable("MONGO_OBSERVER_HTTP__LISTEN", "environment:2")
    .variable("MONGO_OBSERVER_LOG__LEVEL", "error")
    .flag("log.level", "debug");
    let config = given.load();
    assert_eq!(config.source.start, Start::Earliest);
    assert_eq!(config.http.listen, "environment:2");
    assert_eq!(config.log.level, Level::Debug);
    assert_eq!(config.log.format, LogFormat::Text, "a default");
}

#[test]
fn the_environment_alone_is_enough() {
    let variables =
        [("MONGO_OBSERVER_SINKS__EVENTS__TYPE", "file"), ("MONGO_OBSERVER_SINKS__EVENTS__PATH", "/tmp/x")];
    let config = Config::load(None, variables.map(|(name, value)| (name.into(), value.into())), &[]).unwrap();
    let Sink::File(file) = &config.sinks["events"] else { panic!("{config:?}") };
    assert_eq!(file.path, Path::new("/tmp/x"));
}

#[test]
fn text_from_the_environment_becomes_what_the_key_is() {
    let config = Given::file("[sinks.out]\ntype = \"file\"")
        .variable("MONGO_OBSERVER_PIPELINE__BUDGET_BYTES", "5000000")
        .variable("MONGO_OBSERVER_MONGODB__PASSWORD", "007")
        .variable("MONGO_OBSERVER_MONGODB__USERNAME", "true")
        .variable("MONGO_OBSERVER_SOURCE__INCLUDE", "shop.*, /^log/ ,")
        .variable("MONGO_OBSERVER_SOURCE__EXCLUDE", r#"["shop.log", '/a,b/']"#)
        .variable("MONGO_OBSERVER_SINKS__OUT__ROTATE_BYTES", "0")
        .variable("MONGO_OBSERVER_SINKS__OUT__FORMAT", "json-canonical")
        .load();
    assert_eq!(config.pipeline.budget_bytes, 5_000_000);
    assert_eq!(config.mongodb.username.as_deref(), Some("true"));
    assert!(config.mongodb.uri().unwrap().expose().starts_with("mongodb://true:007@"));
    assert_eq!(config.source.include, ["shop.*", "/^log/"]);
    assert_eq!(config.source.exclude, ["shop.log", "/a,b/"]);
    let Sink::File(file) = &config.sinks["out"] else { panic!("{config:?}") };
    assert_eq!((file.rotate_bytes, file.format), (0, Format::JsonCanonical));
}

#[test]
fn variables_reach_names_that_they_cannot_spell() {
    let config = Given::file("[sinks.My-Events]\ntype = \"file\"")
        .variable("MONGO_OBSERVER_SINKS__MY_EVENTS__PATH", "/tmp/x")
        .load();
    let Sink::File(file) = &config.sinks["My-Events"] else { panic!("{config:?}") };
    assert_eq!(file.path, Path::new("/tmp/x"));
}

#[test]
#[cfg(feature = "kafka")]
fn settings_of_librdkafka_pass_through_as_text() {
    let config = Given::file(
        "[sinks.k]\ntype = \"kafka\"\n[sinks.k.librdkafka]\nlinger.ms = 5\n\"acks\" = \"all\"\n\"socket.keepalive.enable\" = true",
    )
    .variable("MONGO_OBSERVER_SINKS__K__LIBRDKAFKA__LINGER_MS", "7")
    .variable("MONGO_OBSERVER_SINKS__K__LIBRDKAFKA__SASL_USERNAME", "007")
    .flag("sinks.k.librdkafka.client.id", "me")
    .load();
    let Sink::Kafka(kafka) = &config.sinks["k"] else { panic!("{config:?}") };
    let expected = serde_json::json!({
        "acks": "all",
        "client.id": "me",
        "linger.ms": "7",
        "sasl.username": "007",
        "socket.keepalive.enable": "true",
    });
    assert_eq!(serde_json::to_value(&kafka.librdkafka).unwrap(), expected);
}

#[test]
fn variables_that_are_not_settings_are_passed_over() {
    Given::with_sink("")
        .variable("PATH", "/bin")
        .variable("MONGO_OBSERVER_PORT", "tcp://10.0.0.1:9464")
        .variable("MONGO_OBSERVER_PORT_9464_TCP_PROTO", "tcp")
        .variable("MONGO_OBSERVER_SERVICE_HOST", "10.0.0.1")
        .load();
}

/// A mistake in the file, and the whole line that says so.
const MISTAKES: [(&str, &str); 15] = [
    ("[source]\ninclde = []", "some.toml: there is no key `source.inclde`: did you mean `include`?"),
    ("[source]\nfrom = 1", "some.toml: there is no key `source.from`: use start, include or exclude"),
    ("[sourc]\nstart = \"now\"", "some.toml: there is no key `sourc`: did you mean `source`?"),
    ("[checkpoint]\nstore = \"sinc\"", "some.toml: `checkpoint.store` can't be `sinc`: did you mean `sink`?"),
    (
        "[checkpoint]\nstore = \"redis\"",
        "some.toml: `checkpoint.store` can't be `redis`: use sink, file or mongodb",
    ),
    ("[checkpoint]\nstore = 1", "some.toml: `checkpoint.store` must be text in quotes, not a number"),
    (
        "[pipeline]\nbudget_bytes = -1",
        "some.toml: `pipeline.budget_bytes` must be a whole number from 0 to 4294967295, not `-1`",
    ),
    (
        "[pipeline]\nbudget_bytes = \"lots\"",
        "some.toml: `pipeline.budget_bytes` must be a whole number from 0 to 4294967295, not `lots`",
    ),
    ("[pipeline]\nbudget_bytes = 7", "some.toml: `pipeline.budget_bytes` must be at least 1048576, not 7"),
    ("[source]\ninclude = 7", "some.toml: `source.include` must be a list of texts"),
    (
        "[source]\nstart = \"yesterday\"",
        "some.toml: `source.start` can't be `yesterday`: use now, earliest, a position such as 1795393406-1, or a change stream's resume token",
    ),
    (
        "[http]\nlisten = \"9464\"",
        "some.toml: `http.listen` must be HOST:PORT, such as 127.0.0.1:9464, or empty, not `9464`",
    ),
    ("[log]\nlevel = \"inof\"", "some.toml: `log.level` can't be `inof`: did you mean `info`?"),
    ("http = 1", "some.toml: `http` must be a table, not a number"),
    (
        "[retry]\ninitial_ms = 0",
        "some.toml: `retry.initial_ms` must be at least 1 and at most `retry.max_ms`",
    ),
];

#[test]
fn a_mistake_is_named_with_its_place_and_its_remedy() {
    for (text, line) in MISTAKES {
        assert_eq!(Given::with_sink(text).refused(), line);
    }
}

/// A mistake in the sinks, and the whole line that says so.
const MISTAKES_IN_SINKS: [(&str, &str); 8] = [
    (
        "",
        "some.toml: there is no sink: add a table [sinks.events] with type = \"stdout\" (or kafka, nats, file)",
    ),
    ("[sinks.a]\nformat = \"json\"", "some.toml: `sinks.a.type` is missing: use kafka, nats, stdout or file"),
    ("[sinks.a]\ntype = \"kafak\"", "some.toml: `sinks.a.type` can't be `kafak`: did you mean `kafka`?"),
    (
        "[sinks.a]\ntype = \"file\"\nkeep = -1",
        "some.toml: `sinks.a.keep` must be a whole number from 0 to 4294967295, not `-1`",
    ),
    (
        "[sinks.a]\ntype = \"file\"\npaht = \"x\"",
        "some.toml: there is no key `sinks.a.paht`: did you mean `path`?",
    ),
    (
        "[sinks.a]\ntype = \"file\"\nimages.before = \"lookup\"",
        "some.toml: `sinks.a.images.before` can't be `lookup`: use none or stored",
    ),
    ("[sinks.a]\ntype = \"file\"\nimages = 1", "some.toml: `sinks.a.images` must be a table, not a number"),
    (
        "[sinks.\"a.b\"]\ntype = \"file\"",
        "some.toml: `sinks.a.b`: a sink's name has letters, digits, `_` and `-` only",
    ),
];

#[test]
fn a_mistake_in_a_sink_is_named_by_its_whole_key() {
    for (text, line) in MISTAKES_IN_SINKS {
        assert_eq!(Given::file(text).refused(), line);
    }
}

#[test]
fn a_mistake_outside_of_the_file_is_named_by_its_variable_or_flag() {
    let given = Given::with_sink("").variable("MONGO_OBSERVER_SOURCE__INCLDE", "x");
    assert_eq!(
        given.refused(),
        "environment variable MONGO_OBSERVER_SOURCE__INCLDE: there is no key `source.inclde`: did you mean `include`?"
    );
    let given = Given::with_sink("").variable("MONGO_OBSERVER_HTTP__LISTEN", "9464");
    assert!(given.refused().starts_with("environment variable MONGO_OBSERVER_HTTP__LISTEN: `http.listen`"));
    let given = Given::with_sink("").variable("MONGO_OBSERVER_HTTP_LISTEN", "x:1");
    assert_eq!(
        given.refused(),
        "environment variable MONGO_OBSERVER_HTTP_LISTEN: write `__` between the levels of a key"
    );
    let given = Given::with_sink("").flag("sinks.events.colour", "always");
    assert_eq!(
        given.refused(),
        "--set sinks.events.colour: there is no key `sinks.events.colour`: did you mean `color`?"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let refused = Config::load(Some(Path::new("/nowhere/x.toml")), [], &[]).unwrap_err();
    assert!(refused.to_string().starts_with("can't read /nowhere/x.toml: No such file"), "{refused}");
    let refused = Given::file("[http]\nlisten = \"a:1\"\nlisten = \"b:1\"").refused();
    assert!(refused.starts_with("some.toml: line 3: duplicate key `listen`"), "{refused}");
}

#[test]
fn several_sinks_do_not_share_what_each_needs_alone() {
    let two = "[sinks.a]\ntype = \"stdout\"\n[sinks.b]\ntype = \"stdout\"\n[checkpoint]\nstore = \"file\"\n";
    assert!(Given::file(two).refused().contains("put `{sink}` into the path"));
    let config = Given::file(&format!("{two}path = \"/var/{{sink}}.checkpoint\"")).load();
    assert_eq!(config.checkpoint.store, Store::File);
    assert_eq!(config.checkpoint.path_for("a"), Path::new("/var/a.checkpoint"));

    let same = Given::file("[sinks.a]\ntype = \"file\"\n[sinks.b]\ntype = \"file\"").refused();
    assert_eq!(same, "some.toml: `sinks.a.path` and `sinks.b.path` are the same file, mongo-observer.jsonl");
}

#[test]
fn lines_are_text_and_tell_their_position_unless_it_is_kept_elsewhere() {
    let sink = |kind: &str, format: &str| format!("[sinks.out]\ntype = \"{kind}\"\nformat = \"{format}\"\n");
    for kind in ["stdout", "file"] {
        let refused = Given::file(&sink(kind, "bson")).refused();
        assert!(
            refused.ends_with("`sinks.out.format` can't be `bson`, which is no text: use json-canonical")
        );
    }
    let refused = Given::file(&sink("file", "mongodb")).refused();
    assert!(refused.ends_with("set checkpoint.store to \"file\" or \"mongodb\""), "{refused}");
    Given::file(&(sink("file", "mongodb") + "[checkpoint]\nstore = \"file\"\n")).load();
    let expanded = Given::file(&sink("stdout", "mongodb-extended"))
        .variable("MONGO_OBSERVER_SINKS__OUT__EXPANDED_EVENTS", "true");
    assert!(expanded.load().sinks["out"].expanded_events());
}

#[test]
fn a_position_and_policies_are_read() {
    let config = Given::with_sink("[source]\nstart = \"1795393406-1\"").load();
    assert_eq!(config.source.start, Start::At(Position::behind_entry(1_795_393_406, 1)));
    assert_eq!(config.on.policies(), Policies::default());
    let on = "unknown = \"skip\"\nunreadable = \"dead_letter\"\ntoo_large = \"header_only\"";
    let config = Given::with_sink(&format!("[on]\n{on}")).load();
    let (unknown, too_large) = (OnFault::Skip, OnTooLarge::HeaderOnly);
    let expected = Policies { unknown, unreadable: OnFault::DeadLetter, too_large, ..Policies::default() };
    assert_eq!(config.on.policies(), expected);
}

#[test]
fn a_policy_that_is_none_is_refused_with_the_words_there_are() {
    for (line, refusal) in [
        ("unknown = \"ignore\"", "`on.unknown` can't be `ignore`: use stop, dead_letter or skip"),
        ("unreadable = \"deadletter\"", "`on.unreadable` can't be `deadletter`: did you mean `dead_letter`?"),
        ("replaced = \"forbid\"", "`on.replaced` can't be `forbid`: use mark or stop"),
        (
            "replaced = \"snapshot\"",
            "`on.replaced` can't be `snapshot` yet: this version takes none; use mark or stop",
        ),
    ] {
        assert_eq!(Given::with_sink(&format!("[on]\n{line}")).refused(), format!("some.toml: {refusal}"));
    }
}

const CANARY: &str = "c4n4ry";

#[test]
fn a_secret_is_found_by_value_file_or_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, format!("{CANARY}\n")).unwrap();
    let by_file = format!("password_file = \"{}\"", file.display());
    let given = [
        Given::with_sink(&format!("[mongodb]\nusername = \"me\"\npassword = \"{CANARY}\"")),
        Given::with_sink(&format!("[mongodb]\nusername = \"me\"\npassword = \"weaker\"\n{by_file}")),
        Given::with_sink("[mongodb]\nuri = \"mongodb://me@host\"")
            .variable("MONGO_OBSERVER_MONGODB__PASSWORD", CANARY),
    ];
    for given in given {
        let uri = given.load().mongodb.uri().unwrap();
        assert!(uri.expose().starts_with(&format!("mongodb://me:{CANARY}@")));
    }
    let missing = Given::with_sink("[mongodb]\nuri_file = \"/nowhere/uri\"").refused();
    assert!(missing.starts_with("`mongodb.uri_file`: can't read /nowhere/uri: No such file"), "{missing}");
}

#[test]
fn a_secret_is_never_printed() {
    let uri = format!("mongodb://user:{CANARY}@host");
    let config = Given::with_sink(&format!("[mongodb]\nuri = \"{uri}\"\npassword = \"{CANARY}\"")).load();
    for printed in
        [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.mongodb.uri().unwrap())]
    {
        assert!(!printed.contains(CANARY), "{printed}");
    }
    // Nor by errors about it: a text in a table's place, a broken line, a key or a value of another type.
    let mistakes = [
        Given::with_sink(&format!("mongodb = \"{uri}\"")),
        Given::with_sink(&format!("[mongodb]\nuri = \"{uri}")),
        Given::with_sink(&format!("[mongodb]\nuri = [\"{uri}\"]")),
        Given::with_sink(&format!("[mongodb]\npassword = {{ value = \"{CANARY}\" }}")),
        Given::with_sink(&format!("[mongodb]\nurl = \"{uri}\"")),
        Given::with_sink(&format!("[sinks]\nevents2 = \"{uri}\"")),
        Given::with_sink("").variable("MONGO_OBSERVER_MONGODB", &uri),
        Given::with_sink("").variable("MONGO_OBSERVER_MONGODB__URI__X", &uri),
    ];
    for given in mistakes {
        let refused = given.refused();
        assert!(!refused.contains(CANARY), "{refused}");
    }
    #[cfg(feature = "nats")]
    assert_eq!(
        Given::file("[sinks.n]\ntype = \"nats\"\ntoken = 4711").refused(),
        "some.toml: `sinks.n.token` must be text: put it in quotes"
    );
    let number = Given::with_sink("[mongodb]\npassword = 4711").refused();
    assert_eq!(number, "some.toml: `mongodb.password` must be text: put it in quotes");
}

#[test]
#[cfg(all(feature = "kafka", feature = "nats"))]
fn the_reference_file_holds_the_defaults() {
    let config = Config::load(Some(&file_in_repository("config/default.toml")), [], &[]).unwrap();
    let with_sinks = format!("{config:#?}");
    let sinks: Vec<_> = config.sinks.values().map(|sink| format!("{sink:#?}")).collect();
    assert_eq!(sinks, default_sinks().map(|sink| format!("{sink:#?}")));

    let expected = Config { sinks: config.sinks, ..Config::default() };
    assert_eq!(with_sinks, format!("{expected:#?}"));
    // A secret's text is not in the output above.
    assert_eq!(config.mongodb.uri.expose(), expected.mongodb.uri.expose());
}

/// The sinks of the reference file, in the order of their names.
#[cfg(all(feature = "kafka", feature = "nats"))]
fn default_sinks() -> [Sink; 4] {
    use mongo_observer::config;
    [
        Sink::File(config::lines::File::default()),
        Sink::Kafka(config::Kafka::default()),
        Sink::Nats(config::Nats::default()),
        Sink::Stdout(config::lines::Stdout::default()),
    ]
}

#[test]
#[cfg(all(feature = "kafka", feature = "nats"))]
fn the_reference_file_lists_every_key() {
    use keys::keys_of;
    use mongo_observer::config;
    let text = std::fs::read_to_string(file_in_repository("config/default.toml")).unwrap();
    let tables = [
        ("mongodb", keys_of::<config::Mongodb>()),
        ("source", keys_of::<config::Source>()),
        ("checkpoint", keys_of::<config::Checkpoint>()),
        ("http", keys_of::<config::Http>()),
        ("pipeline", keys_of::<config::Pipeline>()),
        ("retry", keys_of::<config::Retry>()),
        ("on", keys_of::<config::On>()),
        ("log", keys_of::<config::Log>()),
        ("sinks.file", keys_of::<config::lines::File>()),
        ("sinks.kafka", keys_of::<config::Kafka>()),
        ("sinks.kafka.tls", keys_of::<mongo_observer::sink::kafka::Tls>()),
        ("sinks.nats", keys_of::<config::Nats>()),
        ("sinks.nats.tls", keys_of::<mongo_observer::sink::nats::Tls>()),
        ("sinks.stdout", keys_of::<config::lines::Stdout>()),
    ];
    for (table, keys) in tables {
        let listed = keys::listed(&text, table);
        for key in keys {
            assert!(listed.contains(&key), "config/default.toml: [{table}] lacks `{key}`; it has {listed:?}");
        }
    }
    // Keys without a default stand there as comments: they must be known, too. Some exclude each other or name files that are not here.
    let refused = Given::file(&keys::uncommented(&text)).refused();
    assert!(!refused.contains("there is no key"), "{refused}");
}

#[test]
fn the_examples_are_short_and_load() {
    for (path, feature) in
        [("stdout", true), ("kafka", cfg!(feature = "kafka")), ("nats", cfg!(feature = "nats"))]
    {
        let path = file_in_repository(&format!("config/{path}.toml"));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 25, "{}: {lines} lines", path.display());
        match Config::load(Some(&path), [], &[]) {
            Ok(config) => assert_eq!(config.sinks.len(), 1),
            Err(error) => assert!(!feature && error.to_string().contains("built without"), "{error}"),
        }
    }
}

/// Which keys there are: asked of the types, and read in the reference file.
#[cfg(all(feature = "kafka", feature = "nats"))]
mod keys {
    use serde::de::value::Error;
    use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

    /// The keys that a table takes: serde's derived code names them to whoever it reads from.
    pub(super) fn keys_of<T: for<'de> Deserialize<'de>>() -> Vec<String> {
        let mut keys = Vec::new();
        T::deserialize(Asked(&mut keys)).map(drop).expect_err("nothing to read");
        assert!(!keys.is_empty());
        keys
    }

    struct Asked<'k>(&'k mut Vec<String>);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            self.0.extend(fields.iter().map(|&field| field.to_owned()));
            Err(Error::custom("asked"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("not a table"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    /// The keys that the text of a file lists in a table or as a table below it, in a comment or not.
    pub(super) fn listed(text: &str, table: &str) -> Vec<String> {
        let text = uncommented(text);
        let whole: toml::Table = toml::from_str(&text).unwrap();
        let table = table.split('.').fold(&whole, |table, level| table[level].as_table().unwrap());
        table.keys().cloned().collect()
    }

    /// The text with the keys that stand in comments: `#key = value`, without a space behind the `#`, or `#[table]`.
    pub(super) fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }
}
