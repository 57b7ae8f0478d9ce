//! The places that settings come from, the later ones stronger: the file, the environment, the command line.
//!
//! Every environment variable and every flag is a layer of its own, so that each value knows its place by name. Their values stay
//! text; numbers and yes-or-no are read from it where the setting is one. (figment's own `Env` guesses: a password `007` becomes 7.)

use std::ffi::OsString;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::error::{Error, ErrorKind};

/// What the names of environment variables begin with; `__` stands between levels.
pub const PREFIX: &str = "MONGO_OBSERVER_";

/// The tables of settings that are passed on to Kafka: their keys have dots, their values are text.
const PASSED_ON: [&str; 2] = ["librdkafka", "topic_config"];

/// A setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The flag, for errors: `--http-listen`.
    pub flag: String,
    /// The dotted key: `http.listen`.
    pub key: String,
    /// The value, as text.
    pub value: String,
}

/// Settings from one place.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    place: String,
    tables: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.tables.clone()))
    }
}

impl Layer {
    /// The settings of a TOML file.
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::caused(ErrorKind::Config, format!("can't read {place}"), error))?;
        let mut tables: Dict = toml::from_str(&text).map_err(|error| {
            // Not the error's own text: it shows the line, which may hold a password.
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::new(ErrorKind::Config, format!("{place}: line {line}: {message}"))
        })?;
        if let Some(Value::Dict(_, sinks)) = tables.get_mut("sinks") {
            sinks.values_mut().for_each(pass_on);
        }
        Ok(Self { place, tables })
    }

    /// The settings of the environment. `below` is what they are laid over: it tells how names are spelled.
    pub(super) fn environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        below: Option<&Self>,
    ) -> Result<Vec<Self>, Error> {
        let mut layers = Vec::new();
        for (variable, value) in variables {
            let Some(name) = variable.to_str().and_then(|variable| variable.strip_prefix(PREFIX)) else {
                continue;
            };
            let place = format!("environment variable {PREFIX}{name}");
            let refuse = |why| Err(Error::new(ErrorKind::Config, format!("{place}: {why}")));
            if !name.contains("__") {
                // Kubernetes sets variables such as MONGO_OBSERVER_PORT for a service of our name: those are not ours to refuse.
                match super::TABLES.iter().find(|table| is_word_of(name, table)) {
                    Some(_) => return refuse("write `__` between the levels of a key".to_owned()),
                    None => continue,
                }
            }
            let Ok(value) = value.into_string() else { return refuse("is not UTF-8".to_owned()) };
            let key = spell(name, below.map(|layer| &layer.tables));
            layers.push(Self::single(place, &key, value));
        }
        Ok(layers)
    }

    /// One setting of the command line.
    pub(super) fn flag(given: &Override) -> Self {
        let split =
            |table: &str| given.key.split_once(&format!(".{table}.")).map(|parts| (table.to_owned(), parts));
        let key = match PASSED_ON.iter().find_map(|table| split(table)) {
            Some((table, (sink, name))) => {
                sink.split('.').map(str::to_owned).chain([table, name.to_owned()]).collect::<Vec<_>>()
            }
            None => given.key.split('.').map(str::to_owned).collect(),
        };
        Self::single(given.flag.clone(), &key, given.value.clone())
    }

    fn single(place: String, key: &[String], value: String) -> Self {
        let mut tables = Dict::new();
        let mut table = &mut tables;
        let (last, outer) = key.split_last().expect("splitting gives at least one piece");
        for level in outer {
            let entry = table.entry(level.clone()).or_insert_with(|| Dict::new().into());
            let Value::Dict(_, inner) = entry else { unreachable!("only tables were put in") };
            table = inner;
        }
        table.insert(last.clone(), value.into());
        Self { place, tables }
    }

    /// The same without the type of that sink: what is left are the settings that the type takes.
    fn without_type(&self, sink: &str) -> Self {
        let mut layer = self.clone();
        if let Some(Value::Dict(_, sinks)) = layer.tables.get_mut("sinks")
            && let Some(Value::Dict(_, settings)) = sinks.get_mut(sink)
        {
            settings.remove("type");
        }
        layer
    }
}

/// All layers, one over the other.
pub(super) fn merged(layers: &[Layer]) -> Figment {
    layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer))
}

/// All layers, without the type of that sink.
pub(super) fn merged_without_type(layers: &[Layer], sink: &str) -> Figment {
    layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer.without_type(sink)))
}

/// The key that a variable's name means. Variables have neither case nor hyphens nor dots, so a level means the existing key that differs
/// in nothing else, or the level in lower case.
fn spell(name: &str, below: Option<&Dict>) -> Vec<String> {
    let mut table = below;
    let mut key: Vec<String> = Vec::new();
    for level in name.split("__") {
        let existing =
            table.and_then(|table| table.iter().find(|(existing, _)| plain(existing) == plain(level)));
        let spelled = match existing {
            Some((existing, _)) => existing.clone(),
            None if key.last().is_some_and(|table| PASSED_ON.contains(&table.as_str())) => {
                level.to_lowercase().replace('_', ".")
            }
            None => level.to_lowercase(),
        };
        key.push(spelled);
        table = existing.and_then(|(_, value)| value.as_dict());
    }
    key
}

fn plain(level: &str) -> String {
    level.to_lowercase().replace(['-', '.'], "_")
}

/// Whether `name` begins with the word `table`.
fn is_word_of(name: &str, table: &str) -> bool {
    let name = name.to_lowercase();
    name.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Makes the settings that a sink passes on flat and text: `linger.ms = 5` is a table in a table with a number, to TOML.
fn pass_on(sink: &mut Value) {
    let Value::Dict(_, settings) = sink else { return };
    for table in PASSED_ON {
        let Some(passed @ Value::Dict(..)) = settings.get_mut(table) else { continue };
        let mut flat = Dict::new();
        flatten("", passed, &mut flat);
        *passed = flat.into();
    }
}

fn flatten(path: &str, value: &Value, flat: &mut Dict) {
    match value {
        Value::Dict(_, table) => {
            for (name, value) in table {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, flat);
            }
        }
        value => {
            let text = value.as_str().map(str::to_owned).or_else(|| {
                let integer = value.to_i128().map(|number| number.to_string());
                integer.or_else(|| value.to_f64().map(|number| number.to_string()))
            });
            let text = text.or_else(|| value.to_bool().map(|yes| yes.to_string()));
            flat.insert(path.to_owned(), text.map_or_else(|| value.clone(), Value::from));
        }
    }
}
