//! What can be typed: commands, flags and their help. No behaviour.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Level, Override};
use crate::event::token::TokenPosition;
use crate::format::Format;

/// Streams every change of a MongoDB deployment into Kafka, NATS JetStream, files or standard output.
#[derive(Debug, Parser)]
#[command(name = "mongo-observer", version, about, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage or configuration.

Try it without installing any server:
  mongo-observer demo")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish changes until stopped
    #[command(after_help = "Example:
  mongo-observer run --config config/kafka.toml --log-level debug --set source.include='shop.*'

Environment variables override the file: MONGO_OBSERVER_MONGODB__URI sets the key `uri` of the table [mongodb].
SIGTERM and SIGINT end it: what is under way is acknowledged, then the checkpoint is stored.")]
    Run(Run),

    /// Look at configuration, MongoDB and sinks, and change nothing
    #[command(after_help = "Prints a line for each thing it looked at; exit code 1 if one of them failed.

Example:
  mongo-observer check --config config/nats.toml")]
    Check(Configured),

    /// Show what it does, on a private MongoDB that is started for it
    #[command(after_help = "Example:
  mongo-observer demo --sink nats --seconds 30")]
    Demo(Demo),

    /// Turn oplog entries into change events, offline
    #[command(
        after_help = "Reads oplog entries on standard input, one Extended JSON document a line, canonical or relaxed, and writes the change
events, one JSON document a line, in the order in which they would be published. The entries of internal databases and
collections are left out, as always. Entries don't say which replica set they come from: the events' source is `offline`.

A line that can't be decoded is an error on standard error, with its number and the reason; the other lines are decoded
all the same, and the exit code is 1 at the end. Each line stands for itself: entries may come in any order, and twice.

Example:
  mongo-observer decode --format json-canonical < oplog.jsonl"
    )]
    Decode(Decode),

    /// Find the documents that match a filter, offline
    #[command(
        after_help = "Reads documents on standard input, one Extended JSON document a line, and writes those lines whose documents match, as they are.
The filter is one of MongoDB's query filters, with its meaning; one that MongoDB would refuse, or that can't be evaluated offline
($where, $text, $near, $jsonSchema), is an error with exit code 2.

A line that can't be read is an error on standard error, with its number and the reason; the other lines are looked at all the
same, and the exit code is 1 at the end.

Example:
  mongo-observer match --filter '{\"status\": \"open\", \"total\": {\"$gte\": 100}}' < orders.jsonl"
    )]
    Match(Match),

    /// Look at the place to resume from, or move it
    #[command(subcommand)]
    Checkpoint(Checkpoint),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct Configured {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,

    /// Override a setting; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// `mongo-observer run`
#[derive(Debug, Args)]
pub struct Run {
    /// Where the configuration is.
    #[command(flatten)]
    pub configured: Configured,

    /// The least important messages to log
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<Level>,

    /// Where to listen for HTTP: metrics, probes and status; an empty text turns it off
    #[arg(long, value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
}

/// `mongo-observer demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the events go; servers are started for it
    #[arg(long, value_enum, default_value_t)]
    pub sink: DemoSink,

    /// How long it runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
}

/// Where the demo's events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DemoSink {
    /// Standard output
    #[default]
    Stdout,
    /// A private Apache Kafka
    Kafka,
    /// A private NATS server with JetStream
    Nats,
}

impl DemoSink {
    /// What is started beside MongoDB, as the end of a sentence.
    pub fn broker_name(self) -> &'static str {
        match self {
            Self::Stdout => "",
            Self::Kafka => " and a private Apache Kafka",
            Self::Nats => " and a private NATS server",
        }
    }
}

/// `mongo-observer decode`
#[derive(Debug, Args)]
pub struct Decode {
    /// How events are written; `bson` is shown as canonical Extended JSON
    #[arg(long, default_value_t, value_parser = format_parser())]
    pub format: Format,

    /// Write Kafka's records instead: {"topic", "key", "value"}, and "encoding" where they are binary
    #[arg(long)]
    pub records: bool,

    /// The prefix of the records' topics
    #[arg(long, value_name = "NAME", default_value = "mongo")]
    pub prefix: String,

    /// Write the commands that the `mongodb` formats leave out by default, too
    #[arg(long)]
    pub expanded_events: bool,
}

/// `mongo-observer match`
#[derive(Debug, Args)]
pub struct Match {
    /// The filter, as Extended JSON
    #[arg(long, value_name = "JSON")]
    pub filter: String,
}

/// `mongo-observer checkpoint`
#[derive(Debug, Subcommand)]
pub enum Checkpoint {
    /// Print the stored position of each sink
    #[command(after_help = "Example:
  mongo-observer checkpoint show --config config/kafka.toml")]
    Show(ForSink),

    /// Store a position: what comes behind it is published next
    #[command(after_help = "Example:
  mongo-observer checkpoint set --config config/kafka.toml --sink events 1795393406-1")]
    Set {
        /// Which sink.
        #[command(flatten)]
        sink: ForSink,

        /// The position: seconds-increment (all of that oplog entry), seconds-increment-ordinal, or a change stream's resume token
        #[arg(value_name = "POSITION", value_parser = TokenPosition::of_text)]
        position: TokenPosition,
    },

    /// Forget the position: the next run begins where `source.start` says
    #[command(after_help = "Example:
  mongo-observer checkpoint clear --config config/kafka.toml --sink events")]
    Clear(ForSink),
}

/// One of the configured sinks.
#[derive(Debug, Args)]
pub struct ForSink {
    /// Where the configuration is.
    #[command(flatten)]
    pub configured: Configured,

    /// The sink's name; needed where several are configured
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
}

impl Configured {
    /// The settings that were given by flags.
    pub fn overrides(&self) -> Vec<Override> {
        let set = |(key, value): &(String, String)| over(&format!("--set {key}"), key, value);
        self.set.iter().map(set).collect()
    }
}

impl Run {
    /// The settings that were given by flags; those with a flag of their own win over `--set`.
    pub fn overrides(&self) -> Vec<Override> {
        let mut overrides = self.configured.overrides();
        overrides.extend(self.log_level.map(|level| over("--log-level", "log.level", level.name())));
        overrides
            .extend(self.http_listen.as_ref().map(|listen| over("--http-listen", "http.listen", listen)));
        overrides
    }
}

fn over(flag: &str, key: &str, value: &str) -> Override {
    Override { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

/// Reads `KEY=VALUE`, where the key has at least two levels.
fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as source.start=earliest")?;
    let levels = key.split('.').all(|level| !level.is_empty()) && key.contains('.');
    if !levels {
        return Err(format!("`{key}` is not a key: expected TABLE.KEY, such as source.start"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads a format, and lets `--help` list all of them.
fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(Format::ALL.map(Format::name))
        .try_map(|name| name.parse::<Format>())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Checkpoint, Cli, Command};
    use crate::event::{Position, token::TokenPosition};

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_overrides_in_order_of_strength() {
        let line =
            "mongo-observer run --config x.toml --log-level debug --set log.level=warn --http-listen :1";
        let Ok(Command::Run(run)) = parsed(line) else { panic!("run") };
        let given: Vec<_> = run.overrides().into_iter().map(|one| (one.flag, one.key, one.value)).collect();
        let expected = [
            ("--set log.level", "log.level", "warn"),
            ("--log-level", "log.level", "debug"),
            ("--http-listen", "http.listen", ":1"),
        ];
        assert_eq!(given, expected.map(|(flag, key, value)| (flag.into(), key.into(), value.into())));
    }

    #[test]
    fn a_checkpoint_position_is_read_at_once() {
        let Ok(Command::Checkpoint(Checkpoint::Set { sink, position })) =
            parsed("mongo-observer checkpoint set --config x.toml --sink a 7-8")
        else {
            panic!("checkpoint set")
        };
        assert_eq!(
            (sink.sink.as_deref(), position),
            (Some("a"), TokenPosition::After(Position::behind_entry(7, 8)))
        );
        assert!(parsed("mongo-observer checkpoint set --config x.toml yesterday").is_err());
    }

    #[test]
    fn bad_usage_is_refused_with_exit_code_2() {
        for line in [
            "mongo-observer run",
            "mongo-observer run --config x --set start=now",
            "mongo-observer run --config x --set source.start",
            "mongo-observer run --config x --log-level loud",
            "mongo-observer check",
            "mongo-observer checkpoint show",
            "mongo-observer demo --seconds 0",
            "mongo-observer demo --sink redis",
            "mongo-observer decode --format xml",
            "mongo-observer match",
            "mongo-observer dance",
        ] {
            assert_eq!(parsed(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_shows_an_example_or_how_to_go_on() {
        fn walk(command: &clap::Command) {
            for command in command.get_subcommands() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let name = command.get_name();
                assert!(help.contains(&format!("{name} ")) || command.has_subcommands(), "{name}: {help}");
                walk(command);
            }
        }
        walk(&Cli::command());
    }
}
