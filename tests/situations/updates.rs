//! Updates by modifiers.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};

use crate::table::{ALL, NEW, OLD, Situation, V44, V60};

pub(crate) fn table() -> Vec<Situation> {
    [fields(), paths(), types(), names(), several(), images(), nothing()].into_iter().flatten().collect()
}

/// A situation in which one document changes.
pub(crate) fn changed(name: &'static str, before: Document, change: impl Into<Bson>) -> Situation {
    let change = change.into();
    Situation::new(name, move |at| {
        let change = change.clone();
        async move { at.update("a", doc! {}, change).await }
    })
    .given(move |at| {
        let before = before.clone();
        async move { at.insert("a", [before]).await }
    })
}

/// One that is logged as modifiers by 4.4, and as a diff since.
fn modified(name: &'static str, before: Document, change: Document) -> Situation {
    changed(name, before, change).events(["update a"]).logged(V44, "o.$v").logged(NEW, "o.diff")
}

fn fields() -> Vec<Situation> {
    vec![
        modified("$set of an existing field", doc! { "_id": 1, "a": 1, "b": 2 }, doc! { "$set": { "a": 5 } }),
        modified("$set of a new field", doc! { "_id": 1, "a": 1 }, doc! { "$set": { "b": 5 } }),
        modified("$unset", doc! { "_id": 1, "a": 1, "b": 2 }, doc! { "$unset": { "a": "" } }),
        modified(
            "$set of an existing and of a new field, and $unset",
            doc! { "_id": 1, "a": 1, "b": 2, "c": 3 },
            doc! { "$set": { "z": 1, "b": 7, "y": 2 }, "$unset": { "a": "", "c": "" } },
        ),
        modified(
            "$inc, $mul, $min, $max, $bit",
            doc! { "_id": 1, "i": 1, "m": 2, "n": 3, "x": 4, "b": 5 },
            doc! { "$inc": { "i": 1, "new": 1 }, "$mul": { "m": 1.5 }, "$min": { "n": 1 }, "$max": { "x": 9_i64 }, "$bit": { "b": { "xor": 1 } } },
        ),
        modified(
            "$currentDate",
            doc! { "_id": 1, "a": 1 },
            doc! { "$currentDate": { "a": true, "b": { "$type": "timestamp" } } },
        ),
        modified("$rename", doc! { "_id": 1, "a": 1, "b": 2 }, doc! { "$rename": { "a": "c" } }),
        modified(
            "$rename of a nested field",
            doc! { "_id": 1, "a": { "b": 1, "c": 2 }, "d": {} },
            doc! { "$rename": { "a.b": "d.e" } },
        ),
        modified(
            "$set of a whole document of 20 fields",
            doc! { "_id": 1, "a": wide(20) },
            doc! { "$set": { "a": wide(20).into_iter().map(|(name, value)| (name + "!", value)).collect::<Document>() } },
        ),
        modified(
            "one byte of a large binary field",
            doc! { "_id": 1, "a": blob(7), "b": "x".repeat(3000) },
            doc! { "$set": { "a": blob(8) } },
        ),
    ]
}

fn paths() -> Vec<Situation> {
    let levels = || doc! { "_id": 1, "a": { "b": { "c": 1, "d": 2 }, "e": 3 }, "f": 4 };
    vec![
        modified("nested $set", levels(), doc! { "$set": { "a.b.c": 9 } }),
        modified("nested $unset", levels(), doc! { "$unset": { "a.b.c": "" } }),
        modified(
            "nested $unset that leaves an empty document",
            levels(),
            doc! { "$unset": { "a.b.c": "", "a.b.d": "" } },
        ),
        modified(
            "$set and $unset on several levels",
            levels(),
            doc! { "$set": { "a.b.c": 9, "a.g": 1, "a.b.h.i": 2, "j": {} }, "$unset": { "a.e": "", "f": "" } },
        ),
        modified(
            "$set of a path that does not exist yet",
            doc! { "_id": 1 },
            doc! { "$set": { "a.b.c": 1 } },
        ),
        modified(
            "$set of a path that does not exist below one that does",
            doc! { "_id": 1, "a": {} },
            doc! { "$set": { "a.b.c": 1, "a.b.d": 2 } },
        ),
    ]
}

fn types() -> Vec<Situation> {
    let set = |name, before: Bson, after: Bson| {
        modified(name, doc! { "_id": 1, "a": before, "b": 1 }, doc! { "$set": { "a": after } })
    };
    let document = || Bson::Document(doc! { "x": 1 });
    let array = || Bson::Array(vec![1.into(), 2.into()]);
    vec![
        set("an array becomes a document", array(), document()),
        set("a document becomes an array", document(), array()),
        set("a document becomes a number", document(), 1.into()),
        set("a value becomes null", 1.into(), Bson::Null),
        modified("a missing field becomes null", doc! { "_id": 1 }, doc! { "$set": { "a": Bson::Null } }),
        set("an int32 becomes an int64 of the same value", 1.into(), 1_i64.into()),
        set("zero becomes negative zero", 0.0.into(), (-0.0).into()),
        set("an array becomes a longer one", array(), Bson::Array((0..9).map(Bson::Int32).collect())),
    ]
}

fn names() -> Vec<Situation> {
    let sections = || doc! { "a": 1, "l": 2, "u": 3, "s": 4, "d": 5, "i": 6, "b": 7, "v": 8, "diff": 9 };
    let mut both = sections();
    both.insert("_id", 1);
    both.insert("o", sections());
    vec![
        modified(
            "fields named like the sections of a diff",
            both,
            doc! {
                "$set": { "a": 0, "l": 0, "u": { "x": 1 }, "i": 0, "o.a": true, "o.l": 0, "o.u": 0, "o.new": 0, "o.b": 0 },
                "$unset": { "d": "", "s": "", "o.d": "", "o.s": "" },
            },
        ),
        modified(
            "fields named `u0`, `s0`, `sdiff` and `d`",
            doc! { "_id": 1, "u0": 1, "s0": { "s0": 1, "u0": 2 }, "sdiff": {}, "d": { "d": 1 } },
            doc! { "$set": { "u0": 2, "s0.s0": 2, "sdiff.d": 1 }, "$unset": { "s0.u0": "", "d.d": "" } },
        ),
        modified(
            "fields named `v` and `diff`",
            doc! { "_id": 1, "v": 1, "diff": { "u": { "a": 1 } } },
            doc! { "$set": { "v": 2, "diff.u.a": 2 } },
        ),
        modified(
            "fields whose names are numbers",
            doc! { "_id": 1, "0": 1, "1": { "x": 1 }, "o": { "0": { "x": 1 }, "1": 1 } },
            doc! { "$set": { "0": 2, "1.x": 2, "o.0.x": 2, "o.1": 2, "o.2": 3 } },
        ),
        modified(
            "a field named `0` and the element 0 of an array",
            doc! { "_id": 1, "o": { "0": 1, "x": 0 }, "r": [1, 2] },
            doc! { "$set": { "o.0": 2, "r.0": 2 } },
        ),
        modified(
            "fields whose names are not ASCII",
            doc! { "_id": 1, "größe": { "日本": 1 } },
            doc! { "$set": { "größe.日本": 2, "größe.\"": 3 } },
        ),
    ]
}

fn several() -> Vec<Situation> {
    let three = || (1..4).map(|id| doc! { "_id": id, "a": id });
    vec![
        Situation::new("updateMany", |at| async move {
            at.update_as("a", doc! { "q": {}, "u": { "$inc": { "a": 1 } }, "multi": true }).await
        })
        .given(move |at| async move { at.insert("a", three()).await })
        .events(["update a*3"]),
        Situation::new("upsert that creates, by modifiers with $setOnInsert", |at| async move {
            let change = doc! { "$set": { "b": 1 }, "$setOnInsert": { "c": 2 } };
            at.update_as("a", doc! { "q": { "_id": 1, "a": 5 }, "u": change, "upsert": true }).await
        })
        .events(["create a", "insert a"]),
        Situation::new("upsert that creates a document whose _id the server makes", |at| async move {
            at.update_as("a", doc! { "q": { "a": 5 }, "u": { "$set": { "b": 1 } }, "upsert": true }).await
        })
        .events(["create a", "insert a"]),
        Situation::new("upsert that finds a document", |at| async move {
            let change = doc! { "$set": { "b": 1 }, "$setOnInsert": { "c": 2 } };
            at.update_as("a", doc! { "q": { "_id": 1 }, "u": change, "upsert": true }).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "a": 1 }]).await })
        .events(["update a"]),
        Situation::new("retryable update", |at| async move {
            let update = doc! { "q": { "_id": 1 }, "u": { "$set": { "a": 2 } } };
            at.retryable([doc! { "update": "a", "updates": [update] }]).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "a": 1 }]).await })
        .events(["update a"])
        .logged(ALL, "prevOpTime"),
        Situation::new("several updates of one document by one command", |at| async move {
            let updates: Vec<_> =
                (0..3).map(|n| doc! { "q": { "_id": 1 }, "u": { "$set": { "a": n } } }).collect();
            at.run(doc! { "update": "a", "updates": updates }).await.map(drop)
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1 }]).await })
        .events(["update a*3"]),
        Situation::new("update of a document whose _id is a document", |at| async move {
            at.update("a", doc! { "_id.x": 1 }, doc! { "$set": { "a": 2 } }).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": { "y": 2_i64, "x": 1 }, "a": 1 }]).await })
        .events(["update a"]),
    ]
}

fn images() -> Vec<Situation> {
    let writes = |name: &'static str, option: &'static str, value: Bson| {
        Situation::new(name, |at| async move {
            at.update("a", doc! { "_id": 1 }, doc! { "$set": { "a": 2 } }).await?;
            at.update("a", doc! { "_id": 1 }, doc! { "b": 3 }).await?;
            at.delete("a", doc! { "_id": 1 }, 1).await
        })
        .given(move |at| {
            let create = doc! { "create": "a", option: value.clone() };
            async move {
                at.run(create).await?;
                at.insert("a", [doc! { "_id": 1, "a": 1 }]).await
            }
        })
        .events(["update a", "replace a", "delete a"])
    };
    vec![
        writes("a collection with recordPreImages: update, replace, delete", "recordPreImages", true.into())
            .only(OLD, "the option is gone in 6.0")
            .logged(OLD, "preImageOpTime"),
        writes(
            "a collection with changeStreamPreAndPostImages: update, replace, delete",
            "changeStreamPreAndPostImages",
            doc! { "enabled": true }.into(),
        )
        .only(V60, "the option exists since 6.0"),
    ]
}

fn nothing() -> Vec<Situation> {
    let document = || doc! { "_id": 1, "a": 1, "b": [1] };
    vec![
        changed("$set of the same value", document(), doc! { "$set": { "a": 1 } }).events([]),
        changed("$unset of a field that is not there", document(), doc! { "$unset": { "z": "" } }).events([]),
        changed("$pull that finds nothing", document(), doc! { "$pull": { "b": 7 } }).events([]),
        Situation::new("update whose filter finds nothing", |at| async move {
            at.update("a", doc! { "_id": 7 }, doc! { "$set": { "a": 2 } }).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1 }]).await })
        .events([]),
        Situation::new("retryable update that changes nothing", |at| async move {
            let update = doc! { "q": { "_id": 1 }, "u": { "$set": { "a": 1 } } };
            at.retryable([doc! { "update": "a", "updates": [update] }]).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "a": 1 }]).await })
        .events([]),
    ]
}

/// A document of so many fields.
pub(crate) fn wide(fields: i32) -> Document {
    (0..fields).map(|number| (format!("field{number}"), Bson::Int32(number))).collect()
}

fn blob(first: u8) -> Binary {
    let mut bytes = vec![1; 5000];
    bytes[2500] = first;
    Binary { subtype: BinarySubtype::Generic, bytes }
}
