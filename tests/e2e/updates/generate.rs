//! Random documents, and random updates of them: every operator, pipelines, arrays, odd names.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, Timestamp, doc};

use super::super::harness::Random;

/// Names like sections of a diff, like indexes, and others.
const NAMES: [&str; 20] = [
    "a", "b", "c", "d", "i", "l", "s", "u", "v", "o", "0", "1", "2", "10", "u0", "s1", "diff", "\u{e9}",
    "x y", "-",
];
/// Names that only a pipeline can reach, since MongoDB 5.0.
const ODD_NAMES: [&str; 6] = ["p.q", "$price", "", "a.0", "$v", "."];
/// Top-level fields that hold arrays at first.
const ARRAYS: [&str; 3] = ["a", "l", "10"];

/// What to do with one document.
pub(super) enum Update {
    Modifiers { also: Document, update: Document, filters: Vec<Document> },
    Pipeline(Vec<Document>),
    Replace(Document),
}

/// Makes up documents and updates.
pub(super) struct Generator {
    pub(super) random: Random,
    /// Whether the server takes odd names, and logs pipelines as diffs.
    pub(super) odd: bool,
}

impl Generator {
    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.below(of.len() as u64) as usize]
    }

    fn number(&mut self, end: i32) -> i32 {
        i32::try_from(self.random.below(end.unsigned_abs().into())).unwrap()
    }

    pub(super) fn document(&mut self) -> Document {
        let mut document = Document::new();
        for name in ARRAYS {
            let size = self.random.below(14);
            let depth = u32::from(self.one_in(2));
            document.insert(name, (0..size).map(|_| self.value(depth)).collect::<Vec<_>>());
        }
        for _ in 0..self.random.below(12) {
            let name = self.name();
            document.insert(name, self.value(3));
        }
        document.remove("$v");
        document
    }

    fn name(&mut self) -> &'static str {
        if self.odd && self.one_in(12) { self.pick(&ODD_NAMES) } else { self.pick(&NAMES) }
    }

    fn value(&mut self, depth: u32) -> Bson {
        match self.random.below(if depth == 0 { 2 } else { 4 }) {
            0 => Bson::Int32(self.number(5)),
            1 => self.scalar(),
            2 => {
                let size = self.random.below(6);
                Bson::Document((0..size).map(|_| (self.name().to_owned(), self.value(depth - 1))).collect())
            }
            _ => {
                let size = self.random.below(12);
                Bson::Array((0..size).map(|_| self.value(depth - 1)).collect())
            }
        }
    }

    fn scalar(&mut self) -> Bson {
        let number = self.number(4);
        match self.random.below(10) {
            0 => Bson::Int64(number.into()),
            1 => Bson::Double(f64::from(number) / 2.0),
            2 => Bson::String("x".repeat(number as usize * 5)),
            3 => Bson::Boolean(number > 1),
            4 => Bson::Null,
            5 => Bson::DateTime(DateTime::from_millis(number.into())),
            6 => Bson::ObjectId(ObjectId::from_bytes([number as u8; 12])),
            7 => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![7; number as usize] }),
            8 => Bson::Decimal128(number.to_string().parse().unwrap()),
            _ => Bson::Timestamp(Timestamp { time: 1, increment: number as u32 }),
        }
    }

    /// A path that is there, as a rule.
    fn path(&mut self, document: &Document) -> String {
        let mut path = String::new();
        let mut at = Bson::Document(document.clone());
        loop {
            let names: Vec<String> = match &at {
                Bson::Document(document) => document.keys().filter(|name| *name != "_id").cloned().collect(),
                Bson::Array(array) => (0..array.len() + 2).map(|index| index.to_string()).collect(),
                _ => Vec::new(),
            };
            let known = !names.is_empty() && !self.one_in(5);
            let name = if known {
                names[self.random.below(names.len() as u64) as usize].clone()
            } else {
                self.pick(&NAMES).to_owned()
            };
            path += &name;
            at = match &at {
                Bson::Document(document) => document.get(&name).cloned().unwrap_or(Bson::Null),
                Bson::Array(array) => {
                    name.parse().ok().and_then(|index: usize| array.get(index).cloned()).unwrap_or(Bson::Null)
                }
                _ => Bson::Null,
            };
            let deeper = matches!(at, Bson::Document(_) | Bson::Array(_)) || self.one_in(12);
            if !deeper || self.one_in(3) {
                return path;
            }
            path.push('.');
        }
    }

    /// Some change of `document`.
    pub(super) fn update(&mut self, document: &Document) -> Update {
        match self.random.below(20) {
            0 => Update::Replace(self.document()),
            1..8 => Update::Pipeline(self.pipeline(document)),
            8 => self.positional(),
            _ => Update::Modifiers { also: doc! {}, update: self.modifiers(document), filters: Vec::new() },
        }
    }

    fn modifiers(&mut self, document: &Document) -> Document {
        let mut update = Document::new();
        let mut paths: Vec<String> = vec!["_id.".to_owned()];
        for _ in 0..=self.random.below(5) {
            let path = self.path(document) + ".";
            if paths.iter().any(|other| path.starts_with(other) || other.starts_with(&path)) {
                continue;
            }
            let name = &path[..path.len() - 1];
            let (operator, argument) = self.operator(document, name);
            if operator == "$rename" {
                paths.push(format!("{}.", argument.as_str().unwrap()));
            }
            let of_operator = update.entry(operator.to_owned()).or_insert_with(|| Bson::Document(doc! {}));
            of_operator.as_document_mut().unwrap().insert(name, argument);
            paths.push(path);
        }
        update
    }

    fn operator(&mut self, document: &Document, path: &str) -> (&'static str, Bson) {
        let now = path.split('.').try_fold(Bson::Document(document.clone()), |at, name| match at {
            Bson::Document(document) => document.get(name).cloned(),
            Bson::Array(array) => array.get(name.parse::<usize>().ok()?).cloned(),
            _ => None,
        });
        match now {
            Some(Bson::Array(_)) if !self.one_in(4) => self.array_operator(),
            Some(Bson::Int32(_) | Bson::Int64(_)) if self.one_in(3) => self.bit_operator(),
            Some(Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_)) | None if self.one_in(3) => {
                (self.pick_operator(&["$inc", "$mul"]), Bson::Int32(self.number(3)))
            }
            _ => match self.random.below(12) {
                0..5 => ("$set", self.value(2)),
                5..8 => ("$unset", Bson::Int32(1)),
                8 => (self.pick_operator(&["$min", "$max"]), self.value(1)),
                9 => ("$currentDate", doc! { "$type": self.pick(&["date", "timestamp"]) }.into()),
                10 => ("$setOnInsert", Bson::Int32(1)),
                _ => ("$rename", self.path(document).into()),
            },
        }
    }

    fn pick_operator(&mut self, of: &[&'static str]) -> &'static str {
        self.pick(of)
    }

    fn bit_operator(&mut self) -> (&'static str, Bson) {
        let kind = self.pick(&["and", "or", "xor"]);
        ("$bit", doc! { kind: self.number(8) }.into())
    }

    fn array_operator(&mut self) -> (&'static str, Bson) {
        let each: Vec<Bson> = (0..self.random.below(3)).map(|_| self.value(1)).collect();
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
        let (also, place, filters) = match self.random.below(3) {
            0 => (doc! { array: { "$elemMatch": { "$gte": 2 } } }, "$", vec![]),
            1 => (doc! {}, "$[]", vec![]),
            _ => (doc! {}, "$[e]", vec![doc! { "e": { "$gte": 2 } }]),
        };
        Update::Modifiers {
            also,
            update: doc! { "$set": { format!("{array}.{place}{below}"): value } },
            filters,
        }
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
        let odd = if self.odd { self.pick(&ODD_NAMES) } else { "b" };
        let set_odd = |input: &str, value: Bson| {
            doc! { "$setField": { "field": { "$literal": odd }, "input": input, "value": value } }
        };
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
                let changed = set_odd(&format!("${name}"), literal.into());
                doc! { "$set": { name: { "$cond": [is_object, changed, { "k": 1 }] } } }
            }
            _ if self.odd => doc! { "$replaceWith": set_odd("$$ROOT", literal.into()) },
            _ => doc! { "$set": { name: literal } },
        }
    }
}
