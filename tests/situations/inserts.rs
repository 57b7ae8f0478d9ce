//! Inserts.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, Uuid, doc,
};

use crate::table::{ALL, NEW, Situation};

pub(crate) fn table() -> Vec<Situation> {
    [plain(), several(), names(), failed()].into_iter().flatten().collect()
}

/// A situation with these documents inserted into a collection that is there.
fn inserted<const N: usize>(name: &'static str, documents: [Document; N]) -> Situation {
    Situation::new(name, move |at| {
        let documents = documents.clone();
        async move { at.insert("a", documents).await }
    })
    .given(|at| async move { at.run(doc! { "create": "a" }).await.map(drop) })
}

fn plain() -> Vec<Situation> {
    let zero = Timestamp { time: 0, increment: 0 };
    let far = |ms| Bson::DateTime(DateTime::from_millis(ms));
    vec![
        inserted("insert into an existing collection", [doc! { "_id": 1, "x": "y" }]).events(["insert a"]),
        Situation::new("insert into a missing collection", |at| async move {
            at.insert("a", [doc! { "_id": 1 }]).await
        })
        .events(["create a", "insert a"]),
        inserted("insert of a document without _id", [doc! { "x": 1 }]).events(["insert a"]),
        inserted("insert of an empty document", [doc! {}]).events(["insert a"]),
        inserted("insert of a document whose _id is not its first field", [doc! { "x": 1, "_id": 2, "y": 3 }])
            .events(["insert a"]),
        inserted(
            "insert of Timestamp(0, 0), which the server fills in at the top level",
            [doc! { "_id": 1, "now": zero, "nested": { "zero": zero }, "list": [zero] }],
        )
        .events(["insert a"]),
        inserted("insert of every BSON type", [every_type()]).events(["insert a"]),
        inserted("insert of numbers at their limits", [numbers()]).events(["insert a"]),
        inserted("insert of texts that JSON has to escape", [texts()]).events(["insert a"]),
        inserted(
            "insert of dates far outside of the years 1 to 9999",
            [doc! { "_id": 1, "late": far(i64::MAX), "early": far(i64::MIN), "before": far(-62_135_596_800_001), "behind": far(253_402_300_800_000) }],
        )
        .events(["insert a"]),
        inserted("insert of _ids of every kind", ids()).events(["insert a*17"]),
        inserted("insert of a document of 150 levels", [nested(150)]).events(["insert a"]),
    ]
}

fn several() -> Vec<Situation> {
    let three =
        || doc! { "insert": "a", "documents": (1..4).map(|id| doc! { "_id": id }).collect::<Vec<_>>() };
    vec![
        inserted("insertMany", [doc! { "_id": 1 }, doc! { "_id": 2 }, doc! { "_id": 3 }])
            .events(["insert a*3"]),
        Situation::new("insertMany, retryable", move |at| async move { at.retryable([three()]).await })
            .events(["create a", "insert a*3"])
            .logged(ALL, "stmtId")
            .logged(ALL, "prevOpTime"),
        Situation::new("one retryable insert", |at| async move {
            at.retryable([doc! { "insert": "a", "documents": [{ "_id": 1 }] }]).await
        })
        .events(["create a", "insert a"])
        .logged(ALL, "txnNumber"),
        Situation::new(
            "retryable bulk write: insert, update and replace, delete of one document",
            |at| async move {
                let set = doc! { "q": { "_id": 1 }, "u": { "$set": { "a": 2 } } };
                let replace = doc! { "q": { "_id": 1 }, "u": { "b": 3 } };
                at.retryable([
                    doc! { "insert": "a", "documents": [{ "_id": 1, "a": 1 }] },
                    doc! { "update": "a", "updates": [set, replace] },
                    doc! { "delete": "a", "deletes": [{ "q": { "_id": 1 }, "limit": 1 }] },
                ])
                .await
            },
        )
        .events(["create a", "insert a", "update a", "replace a", "delete a"])
        .logged(ALL, "prevOpTime"),
        Situation::new("insertMany of 300 documents", |at| async move {
            at.insert("a", (0..300).map(|id| doc! { "_id": id, "text": "x".repeat(100) })).await
        })
        .events(["create a", "insert a*300"]),
    ]
}

fn names() -> Vec<Situation> {
    let into = |name: &'static str, coll: &'static str| {
        Situation::new(name, move |at| async move { at.insert(coll, [doc! { "_id": 1 }]).await })
    };
    vec![
        into("a collection's name with dots", "a.b..c").events(["create a.b..c", "insert a.b..c"]),
        into("a collection's name with spaces", "a b  c").events(["create a b  c", "insert a b  c"]),
        into("a collection's name with letters that are not ASCII", "Straße.日本")
            .events(["create Straße.日本", "insert Straße.日本"]),
        into("a collection's name with a quote, a slash, a backslash and a percent sign", "a\"b/c\\d%41")
            .events(["create a\"b/c\\d%41", "insert a\"b/c\\d%41"]),
        into("a collection whose name begins almost like an internal one", "systems.views")
            .events(["create systems.views", "insert systems.views"]),
        into("a collection whose name begins almost like a temporary one", "tmp.agg.a")
            .events(["create tmp.agg.a", "insert tmp.agg.a"]),
        Situation::new("a database's name with a dash and letters that are not ASCII", |at| async move {
            let other = at.client.database(&format!("{}-日本", at.name));
            other.run_command(doc! { "insert": "a", "documents": [{ "_id": 1 }] }).await?;
            Ok(())
        })
        .events(["create -日本.a", "insert -日本.a"]),
        inserted(
            "fields whose names begin with `$`, hold dots, are `$v` and `diff`, or empty",
            [doc! { "_id": 1, "$a": 1, "b.c": { "$d": 2, "e.f": 3 }, "$v": 2, "diff": { "u": { "a": 1 } }, "": 4 }],
        )
        .only(NEW, "names with `$` and dots can be stored since 5.0")
        .events(["insert a"]),
        inserted(
            "fields that look like Extended JSON, in part",
            [doc! { "_id": 1, "$numberInt": 7, "$oid": { "$date": 1 } }],
        )
        .only(NEW, "names with `$` can be stored since 5.0")
        .events(["insert a"]),
    ]
}

fn failed() -> Vec<Situation> {
    let with_one = |name: &'static str, ordered: bool| {
        Situation::new(name, move |at| async move {
            let documents: Vec<_> = [2, 1, 3].map(|id| doc! { "_id": id }).into();
            let failed = at.run(doc! { "insert": "a", "documents": documents, "ordered": ordered }).await;
            if failed.is_ok() { Err("the duplicate was taken".into()) } else { Ok(()) }
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1 }]).await })
    };
    vec![
        with_one("insertMany, unordered, with a duplicate key", false).events(["insert a*2"]),
        with_one("insertMany, ordered, with a duplicate key", true).events(["insert a"]),
        Situation::new("insert that a validator refuses", |at| async move {
            let failed = at.insert("a", [doc! { "_id": 1 }]).await;
            if failed.is_ok() { Err("the document was taken".into()) } else { Ok(()) }
        })
        .given(|at| async move {
            at.run(doc! { "create": "a", "validator": { "x": { "$exists": true } } }).await.map(drop)
        })
        .events([]),
    ]
}

fn every_type() -> Document {
    let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
    doc! {
        "_id": ObjectId::from_bytes([1; 12]),
        "double": 1.5,
        "not a number": f64::NAN,
        "infinite": f64::NEG_INFINITY,
        "text": "Käse\u{0}日本 🧀",
        "empty": {},
        "none": [],
        "list": [1, [2, { "a": [] }], "x"],
        "generic": binary(BinarySubtype::Generic, b"\x00\xff"),
        "uuid": Uuid::from_bytes([7; 16]),
        "own": binary(BinarySubtype::UserDefined(0x80), b"abc"),
        "old": binary(BinarySubtype::BinaryOld, b"abc"),
        "nothing": binary(BinarySubtype::Generic, b""),
        "true": true,
        "false": false,
        "date": DateTime::from_millis(1_700_000_000_123),
        "before 1970": DateTime::from_millis(-1),
        "null": Bson::Null,
        "regex": Regex { pattern: mongodb::bson::cstr!("^a/b\"").into(), options: mongodb::bson::cstr!("im").into() },
        "code": Bson::JavaScriptCode("function() { return \"x\"; }".to_owned()),
        "closure": JavaScriptCodeWithScope { code: "x".to_owned(), scope: doc! { "x": 1 } },
        "symbol": Bson::Symbol("s".to_owned()),
        "int32": 5,
        "int64": 5_i64,
        "timestamp": Timestamp { time: 7, increment: u32::MAX },
        "decimal": "1E+3".parse::<Decimal128>().unwrap(),
        "min": Bson::MinKey,
        "max": Bson::MaxKey,
        "undefined": Bson::Undefined,
        "reference": { "$ref": "b", "$id": 1, "$db": "c" },
    }
}

fn numbers() -> Document {
    let decimal = |text: &str| text.parse::<Decimal128>().unwrap();
    doc! {
        "_id": 1,
        "int32": [0, -1, i32::MIN, i32::MAX],
        "int64": [0_i64, -1_i64, i64::MIN, i64::MAX],
        "double": [0.0, -0.0, 1.0, 0.1, 1e23, f64::MAX, f64::MIN_POSITIVE, 5e-324, -1e-7, 123_456_789.0, 9_007_199_254_740_993.0],
        "decimal": [
            decimal("0"), decimal("-0"), decimal("0E-6176"), decimal("9.999999999999999999999999999999999E+6144"),
            decimal("1E-6176"), decimal("NaN"), decimal("-Infinity"), decimal("1.10"), decimal("0.0000001"),
        ],
    }
}

fn texts() -> Document {
    doc! {
        "_id": 1,
        "controls": "\u{0}\u{1}\t\n\r\u{8}\u{c}\u{1f}\u{7f}\u{80}\u{9f}",
        "signs": "\"\\/<>&'",
        "lines": "\u{2028}\u{2029}\u{feff}",
        "planes": "\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
        "name \"with\" \\ signs\n": 1,
    }
}

fn ids() -> [Document; 17] {
    let ids: [Bson; 17] = [
        Bson::Null,
        "text".into(),
        "".into(),
        1.5.into(),
        7.into(),
        8_i64.into(),
        doc! { "a": 1, "b": { "c": 2 } }.into(),
        doc! {}.into(),
        Uuid::from_bytes([3; 16]).into(),
        ObjectId::from_bytes([9; 12]).into(),
        DateTime::from_millis(0).into(),
        true.into(),
        "1.0".parse::<Decimal128>().unwrap().into(),
        Bson::MinKey,
        Bson::MaxKey,
        Timestamp { time: 1, increment: 2 }.into(),
        Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2] }.into(),
    ];
    ids.map(|id| doc! { "_id": id, "x": 1 })
}

fn nested(levels: usize) -> Document {
    let whole = (1..levels).fold(Bson::Int32(1), |inner, level| {
        if level % 2 == 0 { doc! { "a": inner }.into() } else { Bson::Array(vec![inner]) }
    });
    doc! { "_id": 1, "a": whole }
}
