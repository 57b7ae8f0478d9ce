//! How change streams describe a command: what they make of the oplog's document, which our event has as it is.

use crate::json::Json;

/// `operationDescription` and `stateBeforeChange` for one of our events.
pub(crate) fn described(op: &str, event: &Json) -> (Option<Json>, Option<Json>) {
    let Some(command) = event.get("command") else { return (None, None) };
    let options = event.get("options");
    match op {
        "create" => (Some(without(command, &["create", "_id"])), None),
        "modify" => (Some(without(command, &["collMod", "_id"])), options.map(before)),
        "createIndexes" => {
            let several = command.get("indexes").cloned();
            let one = || Json::Array(vec![without(command, &["createIndexes"])]);
            (Some(object("indexes", several.unwrap_or_else(one))), None)
        }
        "dropIndexes" => (options.map(|index| object("indexes", Json::Array(vec![index.clone()]))), None),
        "rename" => {
            let mut members = vec![("to".to_owned(), event.get("to").cloned().unwrap_or(Json::Null))];
            if let Some(target) = command.get("dropTarget").filter(|target| **target != Json::Bool(false)) {
                members.push(("dropTarget".to_owned(), target.clone()));
            }
            (Some(Json::Object(members)), None)
        }
        _ => (None, None),
    }
}

fn object(name: &str, value: Json) -> Json {
    Json::Object(vec![(name.to_owned(), value)])
}

fn without(document: &Json, names: &[&str]) -> Json {
    let Json::Object(members) = document else { return document.clone() };
    Json::Object(members.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect())
}

/// The old options, without the ending that the oplog gives their names.
fn before(options: &Json) -> Json {
    let Json::Object(members) = options else { return options.clone() };
    let renamed =
        members.iter().map(|(name, value)| (name.trim_end_matches("_old").to_owned(), value.clone()));
    Json::Object(renamed.collect())
}
