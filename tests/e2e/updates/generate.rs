//! Random documents: every type, names like sections of a diff and like indexes, arrays within arrays, deep and large ones.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, RawBson, RawDocumentBuf, Regex, Timestamp,
    cstr, doc,
};

use super::super::harness::Random;

/// Names like sections of a diff, like indexes, and others.
pub(super) const NAMES: [&str; 24] = [
    "a", "b", "c", "d", "i", "l", "s", "u", "v", "o", "0", "1", "2", "10", "01", "u0", "s1", "sa", "diff",
    "\u{e9}", "x y", "-", "_id", "%",
];
/// Names that updates reach since MongoDB 5.0, and only with a pipeline.
pub(super) const ODD_NAMES: [&str; 7] = ["p.q", "$price", "", "a.0", "$v", ".", "$"];
/// Top-level fields that hold arrays at first.
pub(super) const ARRAYS: [&str; 3] = ["a", "l", "10"];
/// Holds documents within documents.
pub(super) const DEEP: &str = "deep";

/// Makes up documents and updates.
pub(super) struct Generator {
    pub(super) random: Random,
    /// Whether the server takes odd names.
    pub(super) odd: bool,
}

impl Generator {
    pub(super) fn new(seed: u64, odd: bool) -> Self {
        Self { random: Random::new(seed), odd }
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.random.below(end as u64)).unwrap()
    }

    pub(super) fn number(&mut self, end: i32) -> i32 {
        i32::try_from(self.random.below(end.unsigned_abs().into())).unwrap()
    }

    /// A document without identifier.
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
        if self.one_in(8) {
            document.insert(DEEP, self.chain());
        }
        if self.one_in(16) {
            let large: Document = (0..800).map(|number| (format!("n{number}"), self.scalar())).collect();
            document.insert("large", large);
        }
        // These have a meaning of their own in the command that inserts the document.
        document.into_iter().filter(|(name, _)| name != "_id" && !name.starts_with('$')).collect()
    }

    /// The same with an identifier, wherever it stands. Every tenth has a field twice, where the server's updates of such documents are
    /// logged without ambiguity.
    pub(super) fn stored(&mut self, id: i32) -> RawDocumentBuf {
        let content = self.document();
        let place = if self.one_in(2) { 0 } else { self.index(content.len() + 1) };
        let mut document = RawDocumentBuf::new();
        for (number, (name, value)) in content.into_iter().enumerate() {
            if number == place {
                document.append(cstr!("_id"), id);
            }
            if !self.odd && id % 10 == 0 && name == "b" {
                document.append(cstr!("b"), 1);
            }
            let name: mongodb::bson::raw::CString = name.try_into().unwrap();
            document.append(&name, RawBson::try_from(value).unwrap());
        }
        if document.get("_id").unwrap().is_none() {
            document.append(cstr!("_id"), id);
        }
        document
    }

    /// Documents within documents, to about half of the depth that the server allows.
    fn chain(&mut self) -> Document {
        let depth = 1 + self.random.below(90);
        (0..depth).fold(doc! { "x": self.value(1) }, |below, _| {
            let name = self.pick(&["d", "s", "0"]);
            if self.one_in(4) {
                doc! { "b": 1, name: [below] }
            } else {
                doc! { name: below, "c": 2 }
            }
        })
    }

    pub(super) fn name(&mut self) -> &'static str {
        if self.odd && self.one_in(12) { self.pick(&ODD_NAMES) } else { self.pick(&NAMES) }
    }

    pub(super) fn value(&mut self, depth: u32) -> Bson {
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
        match self.random.below(18) {
            0 => Bson::Int64(number.into()),
            1 => Bson::Double(f64::from(number) / 2.0),
            2 => Bson::Double(self.pick(&[f64::NAN, -0.0, f64::INFINITY])),
            3 => Bson::String("\u{e9}x\0".repeat(usize::try_from(number).unwrap() * 3)),
            4 => Bson::Boolean(number > 1),
            5 => Bson::Null,
            6 => Bson::DateTime(DateTime::from_millis(number.into())),
            7 => Bson::ObjectId(ObjectId::from_bytes([number.to_le_bytes()[0]; 12])),
            8 => binary(BinarySubtype::Generic, number),
            9 => binary(BinarySubtype::UserDefined(200), number),
            10 => Bson::Decimal128(number.to_string().parse().unwrap()),
            11 => Bson::Timestamp(Timestamp { time: 1, increment: number.unsigned_abs() }),
            12 => Bson::RegularExpression(Regex { pattern: cstr!("a.b").into(), options: cstr!("i").into() }),
            13 => Bson::JavaScriptCode("f()".to_owned()),
            14 => Bson::Symbol("symbol".to_owned()),
            15 => {
                let scope = doc! { "x": number };
                Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "g()".to_owned(), scope })
            }
            16 => {
                if self.pick(&[true, false]) {
                    Bson::MinKey
                } else {
                    Bson::MaxKey
                }
            }
            _ => Bson::Undefined,
        }
    }
}

fn binary(subtype: BinarySubtype, length: i32) -> Bson {
    Bson::Binary(Binary { subtype, bytes: vec![7; usize::try_from(length).unwrap()] })
}
