//! Random updates: every operator, positional paths, pipelines, replacements.

use std::collections::BTreeMap;

use mongodb::bson::{Array, Bson, Document, RawBson, doc};

use super::generate::{ARRAYS, DEEP, Generator, NAMES, ODD_NAMES};

/// What to do with one document.
pub(super) struct Update {
    /// More conditions on the document.
    pub(super) also: Document,
    /// Modifiers, a pipeline or a document.
    pub(super) u: RawBson,
    pub(super) array_filters: Array,
}

impl Update {
    fn plain(u: impl Into<Bson>) -> Self {
        Self { also: doc! {}, u: u.into().try_into().unwrap(), array_filters: Array::new() }
    }
}

impl Generator {
    /// Some change of the document with that identifier.
    pub(super) fn update(&mut self, id: i32, document: &Document) -> Update {
        match self.random.below(20) {
            0 => self.replacement(id),
            1..8 => Update::plain(self.pipeline(document)),
            8 => self.positional(),
            _ => Update::plain(self.modifiers(document)),
        }
    }

    pub(super) fn replacement(&mut self, id: i32) -> Update {
        Update { u: RawBson::Document(self.stored(id)), ..Update::plain(doc! {}) }
    }

    /// `$set` and `$unset` as a client may give them to an `applyOps`; in the order in which servers up to 4.4 log them, or against any order.
    pub(super) fn by_hand(&mut self, document: &Document) -> Document {
        let mut paths = BTreeMap::new();
        for _ in 0..=self.random.below(6) {
            let path = self.path(document);
            let names: Vec<String> = path.split('.').map(str::to_owned).collect();
            let overlaps = |other: &Vec<String>| names.starts_with(other) || other.starts_with(&names);
            let is_taken =
                names[0] != "_id" && names.iter().all(|name| NAMES.contains(&name.as_str()) && name != "01");
            if is_taken && !paths.keys().any(overlaps) {
                paths.insert(names, path);
            }
        }
        let mut paths: Vec<String> = paths.into_values().collect();
        if self.odd {
            paths.reverse();
        }
        let (mut set, mut unset) = (doc! {}, doc! {});
        for path in paths {
            if self.one_in(4) {
                unset.insert(path, true);
            } else {
                set.insert(path, self.value(1));
            }
        }
        doc! { "$set": set, "$unset": unset }
    }

    /// A path that is there, as a rule.
    fn path(&mut self, document: &Document) -> String {
        let to_the_end = self.one_in(4);
        let mut path = String::new();
        let mut at = Bson::Document(document.clone());
        if to_the_end && document.contains_key(DEEP) && self.one_in(2) {
            path = format!("{DEEP}.");
            at = document[DEEP].clone();
        }
        loop {
            let name = self.step(&at);
            path += &name;
            at = below(&at, &name).unwrap_or(Bson::Null);
            let deeper = matches!(at, Bson::Document(_) | Bson::Array(_)) || self.one_in(12);
            if !deeper || (!to_the_end && self.one_in(3)) {
                return path;
            }
            path.push('.');
        }
    }

    /// The next name of a path.
    fn step(&mut self, at: &Bson) -> String {
        let names: Vec<String> = match at {
            Bson::Document(document) => document.keys().filter(|name| *name != "_id").cloned().collect(),
            Bson::Array(array) => (0..array.len() + 2).map(|index| index.to_string()).collect(),
            _ => Vec::new(),
        };
        if names.is_empty() || self.one_in(5) {
            self.pick(&NAMES).to_owned()
        } else {
            names[self.index(names.len())].clone()
        }
    }

    pub(super) fn modifiers(&mut self, document: &Document) -> Document {
        let mut update = Document::new();
        // No path may be within another one.
        let mut paths: Vec<String> = vec!["_id.".to_owned()];
        for _ in 0..=self.random.below(5) {
            let name = self.path(document);
            let (operator, argument) = self.operator(document, &name);
            let also = if operator == "$rename" { argument.as_str() } else { None };
            let new: Vec<String> =
                [Some(name.as_str()), also].into_iter().flatten().map(|path| format!("{path}.")).collect();
            if new.iter().any(|path| paths.iter().any(|other| overlap(path, other))) {
                continue;
            }
            let of_operator = update.entry(operator.to_owned()).or_insert_with(|| Bson::Document(doc! {}));
            of_operator.as_document_mut().unwrap().insert(name, argument);
            paths.extend(new);
        }
        update
    }

    fn operator(&mut self, document: &Document, path: &str) -> (&'static str, Bson) {
        let now = path.split('.').try_fold(Bson::Document(document.clone()), |at, name| below(&at, name));
        match now {
            Some(Bson::Array(_)) if !self.one_in(4) => self.array_operator(),
            Some(Bson::Int32(_) | Bson::Int64(_)) if self.one_in(3) => {
                let kind = self.pick(&["and", "or", "xor"]);
                ("$bit", doc! { kind: self.number(8) }.into())
            }
            Some(Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_)) | None if self.one_in(3) => {
                (self.pick(&["$inc", "$mul"]), Bson::Int32(self.number(3)))
            }
            _ => match self.random.below(12) {
                0..5 => ("$set", self.value(2)),
                5..8 => ("$unset", Bson::Int32(1)),
                8 => (self.pick(&["$min", "$max"]), self.value(1)),
                9 => ("$currentDate", doc! { "$type": self.pick(&["date", "timestamp"]) }.into()),
                10 => ("$setOnInsert", Bson::Int32(1)),
                _ => ("$rename", self.path(document).into()),
            },
        }
    }

    fn array_operator(&mut self) -> (&'static str, Bson) {
        let each: Array = (0..self.random.below(3)).map(|_| self.value(1)).collect();
        match self.random.below(10) {
            0 | 1 => ("$push", self.value(2)),
            2 => ("$push", doc! { "$each": each }.into()),
            3 => ("$push", doc! { "$each": each, "$position": self.number(4) }.into()),
            4 => ("$push", doc! { "$each": each, "$slice": self.number(9) - 4 }.into()),
            5 => ("$push", doc! { "$each": each, "$sort": 1 }.into()),
            6 => ("$pop", Bson::Int32(if self.one_in(2) { 1 } else { -1 })),
            7 => ("$pull", Bson::Int32(self.number(5))),
            8 => ("$pullAll", Bson::Array(vec![Bson::Int32(1), Bson::Int32(2)])),
            _ => ("$addToSet", doc! { "$each": each }.into()),
        }
    }

    /// An update of the elements that match something, or of all.
    fn positional(&mut self) -> Update {
        let array = self.pick(&ARRAYS);
        let below = self.pick(&["", ".b", ".0"]);
        let value = self.value(1);
        let (also, place, array_filters) = match self.random.below(3) {
            0 => (doc! { array: { "$elemMatch": { "$gte": 2 } } }, "$", Array::new()),
            1 => (doc! {}, "$[]", Array::new()),
            _ => (doc! {}, "$[e]", vec![doc! { "e": { "$gte": 2 } }.into()]),
        };
        let update = doc! { "$set": { format!("{array}.{place}{below}"): value } };
        Update { also, array_filters, ..Update::plain(update) }
    }

    fn pipeline(&mut self, document: &Document) -> Vec<Document> {
        (0..=self.random.below(2)).map(|_| self.stage(document)).collect()
    }

    fn stage(&mut self, document: &Document) -> Document {
        let array = self.pick(&ARRAYS);
        let of_array = format!("${array}");
        let literal = doc! { "$literal": self.value(2) };
        let is_array = doc! { "$isArray": &of_array };
        let name = self.pick(&NAMES);
        match self.random.below(12) {
            0 | 1 => doc! { "$set": { self.path(document): literal } },
            2 => doc! { "$unset": self.path(document) },
            3 => doc! { "$set": { name: format!("${}", self.pick(&NAMES)) } },
            4 => doc! { "$project": { name: 0 } },
            5 => doc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", { name: literal }] } },
            6 => {
                let cut = doc! { "$slice": [of_array, 1 + self.number(6)] };
                doc! { "$set": { array: { "$cond": [is_array, cut, 1] } } }
            }
            7 => {
                let longer = doc! { "$concatArrays": [of_array, [literal]] };
                doc! { "$set": { array: { "$cond": [is_array, longer, []] } } }
            }
            8 => {
                let changed = doc! { "$cond": [{ "$eq": ["$$x", 3] }, literal, "$$x"] };
                let map = doc! { "$map": { "input": of_array, "as": "x", "in": changed } };
                doc! { "$set": { array: { "$cond": [is_array, map, "$b"] } } }
            }
            9 if self.odd => {
                let is_object = doc! { "$eq": [{ "$type": format!("${name}") }, "object"] };
                let changed = self.set_odd_field(&format!("${name}"), literal);
                doc! { "$set": { name: { "$cond": [is_object, changed, { "k": 1 }] } } }
            }
            _ if self.odd => doc! { "$replaceWith": self.set_odd_field("$$ROOT", literal) },
            _ => doc! { "$set": { name: literal } },
        }
    }

    fn set_odd_field(&mut self, input: &str, literal: Document) -> Document {
        let field = doc! { "$literal": self.pick(&ODD_NAMES) };
        let value = if self.one_in(4) { "$$REMOVE".into() } else { Bson::Document(literal) };
        doc! { "$setField": { "field": field, "input": input, "value": value } }
    }
}

/// Whether the server refuses both paths in one update, or makes something of it that is beneath notice: `a.01` and `a.1` are the same element,
/// which ends servers from 5.0 on with a failed invariant.
fn overlap(one: &str, other: &str) -> bool {
    let has = |path: &str, name| path.split('.').any(|part| part == name);
    let is_spelled_twice = has(one, "01") && has(other, "1") || has(one, "1") && has(other, "01");
    is_spelled_twice || one.starts_with(other) || other.starts_with(one)
}

/// What is under that name.
fn below(at: &Bson, name: &str) -> Option<Bson> {
    match at {
        Bson::Document(document) => document.get(name).cloned(),
        Bson::Array(array) => array.get(name.parse::<usize>().ok()?).cloned(),
        _ => None,
    }
}
