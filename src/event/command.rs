//! What a command says, in the change stream's form.

use super::{Command, Namespace};
use crate::bson::{DocWriter, Malformed, RawDoc};

impl Command<'_> {
    /// Appends the change stream's `operationDescription` as a BSON document; false if a command of that kind has none. Order, types and
    /// repeated names are those of the oplog entry.
    pub fn write_description(&self, out: &mut Vec<u8>) -> Result<bool, Malformed> {
        let start = out.len();
        let written = self.description(DocWriter::new(out));
        if !matches!(written, Ok(true)) {
            out.truncate(start);
        }
        written
    }

    fn description(&self, mut out: DocWriter<'_>) -> Result<bool, Malformed> {
        match self.name {
            "rename" => self.rename(&mut out)?,
            "create" | "modify" => rest(&mut out, self.o, &["create", "collMod", "_id"])?,
            "createIndexes" => self.created_indexes(&mut out)?,
            "dropIndexes" => {
                let mut indexes = out.array(b"indexes");
                if let Some(index) = self.o2 {
                    indexes.append_doc(b"0", index);
                }
                indexes.finish();
            }
            _ => return Ok(false),
        }
        out.finish();
        Ok(true)
    }

    fn rename(&self, out: &mut DocWriter<'_>) -> Result<(), Malformed> {
        for element in self.o {
            let element = element?;
            match (element.name, self.to) {
                (b"renameCollection" | b"stayTemp", _) => {}
                (b"to", Some(Namespace { db, coll })) => {
                    let mut to = out.document(b"to");
                    to.append_str(b"db", db.as_bytes());
                    to.append_str(b"coll", coll.as_bytes());
                    to.finish();
                }
                (name, _) => out.append(name, element.value),
            }
        }
        Ok(())
    }

    /// One index of an empty collection, or all of a build.
    fn created_indexes(&self, out: &mut DocWriter<'_>) -> Result<(), Malformed> {
        if self.o.get("createIndexes").is_some() {
            let mut indexes = out.array(b"indexes");
            let mut index = indexes.document(b"0");
            rest(&mut index, self.o, &["createIndexes"])?;
            index.finish();
            indexes.finish();
        } else if let Some(indexes) = self.o.get("indexes") {
            out.append(b"indexes", indexes);
        }
        Ok(())
    }
}

/// Everything but these fields.
fn rest(out: &mut DocWriter<'_>, doc: RawDoc<'_>, without: &[&str]) -> Result<(), Malformed> {
    for element in doc {
        let element = element?;
        if !without.iter().any(|name| name.as_bytes() == element.name) {
            out.append(element.name, element.value);
        }
    }
    Ok(())
}
