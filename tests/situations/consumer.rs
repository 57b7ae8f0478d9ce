//! What a consumer does with an update: another reading of the rules than the library's own, on the driver's documents.

use mongodb::bson::{Bson, Document};

type Applied = Result<(), String>;

/// Changes a document by the `update` of an event.
pub(crate) fn apply(document: &mut Document, update: &Document) -> Applied {
    if let Ok(diff) = update.get_document("diff") {
        return change_document(document, diff);
    }
    let modifiers = update.get_document("modifiers").map_err(|error| error.to_string())?;
    for (path, value) in modifiers.get_document("$set").into_iter().flatten() {
        set(document, path, value)?;
    }
    for (path, _) in modifiers.get_document("$unset").into_iter().flatten() {
        unset(document, path)?;
    }
    Ok(())
}

fn change_document(document: &mut Document, diff: &Document) -> Applied {
    for (section, value) in diff {
        let value = value.as_document().ok_or("a section that is no document")?;
        match section.as_str() {
            "d" => value.keys().for_each(|name| drop(document.remove(name))),
            // In its place, if it has one.
            "u" => document.extend(value.clone()),
            // At the end, also if it was there.
            "i" => {
                for (name, value) in value {
                    document.remove(name);
                    document.insert(name, value.clone());
                }
            }
            nested => {
                let name = nested.strip_prefix('s').ok_or("an unknown section")?;
                change(document.get_mut(name).ok_or("a change of what is not there")?, value)?;
            }
        }
    }
    Ok(())
}

fn change(value: &mut Bson, diff: &Document) -> Applied {
    match value {
        Bson::Document(document) => change_document(document, diff),
        Bson::Array(array) => change_array(array, diff),
        _ => Err("a change within what is no container".to_owned()),
    }
}

fn change_array(array: &mut Vec<Bson>, diff: &Document) -> Applied {
    for (section, value) in diff {
        match (section.split_at(1), value) {
            (("a", ""), Bson::Boolean(true)) => {}
            (("l", ""), Bson::Int32(length)) => array.truncate(usize::try_from(*length).unwrap_or(0)),
            (("u", index), value) => *element(array, index)? = value.clone(),
            (("s", index), Bson::Document(diff)) => change(element(array, index)?, diff)?,
            _ => return Err(format!("an unknown section {section}")),
        }
    }
    Ok(())
}

/// An element, behind the end with nulls up to it.
fn element<'a>(array: &'a mut Vec<Bson>, index: &str) -> Result<&'a mut Bson, String> {
    let index: usize = index.parse().map_err(|_| format!("{index} is no index"))?;
    if array.len() <= index {
        array.resize(index + 1, Bson::Null);
    }
    Ok(&mut array[index])
}

fn set(document: &mut Document, path: &str, value: &Bson) -> Applied {
    let Some((name, rest)) = path.split_once('.') else {
        document.insert(path, value.clone());
        return Ok(());
    };
    set_within(document.entry(name.to_owned()).or_insert(Bson::Document(Document::new())), rest, value)
}

fn set_within(container: &mut Bson, path: &str, value: &Bson) -> Applied {
    match container {
        Bson::Document(document) => set(document, path, value),
        Bson::Array(array) => {
            let (index, rest) =
                path.split_once('.').map_or((path, None), |(index, rest)| (index, Some(rest)));
            let element = element(array, index)?;
            match rest {
                None => *element = value.clone(),
                Some(rest) => {
                    if *element == Bson::Null {
                        *element = Bson::Document(Document::new());
                    }
                    set_within(element, rest, value)?;
                }
            }
            Ok(())
        }
        _ => Err(format!("{path} lies within what is no container")),
    }
}

fn unset(document: &mut Document, path: &str) -> Applied {
    let Some((name, rest)) = path.split_once('.') else {
        document.remove(path);
        return Ok(());
    };
    unset_within(document.get_mut(name).ok_or("nothing there to be unset")?, rest)
}

/// An element of an array becomes null.
fn unset_within(container: &mut Bson, path: &str) -> Applied {
    match (container, path.split_once('.')) {
        (Bson::Document(document), _) => unset(document, path),
        (Bson::Array(array), None) => {
            *element(array, path)? = Bson::Null;
            Ok(())
        }
        (Bson::Array(array), Some((index, rest))) => unset_within(element(array, index)?, rest),
        _ => Err(format!("{path} lies within what is no container")),
    }
}
