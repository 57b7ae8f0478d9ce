//! What becomes of the collection as a whole.

use serde::de::DeserializeOwned;

use super::super::change::{Cause, Change as Seen};
use super::{Replica, Trouble};
use crate::event::{ChangeEvent, CollectionType, Command};

impl<T: DeserializeOwned> Replica<T> {
    pub(super) fn command(&mut self, event: &ChangeEvent<'_>, command: &Command<'_>) -> Result<(), Trouble> {
        let is_here =
            event.ns.db == self.db && (event.ns.coll == self.coll || command.name == "dropDatabase");
        let comes_here = command.to.is_some_and(|to| to.db == self.db && to.coll == self.coll);
        let lost = |what: &str| Err(Trouble::Lost(what.to_owned()));
        if comes_here {
            return lost("another collection was put in this one's place");
        }
        if !is_here {
            return Ok(());
        }
        match command.name {
            "create" if command.of != CollectionType::Collection => {
                Err(Trouble::Ended("it is a view now, which has no changes of its own".to_owned()))
            }
            "create" => {
                self.clear();
                self.collection = event.collection_id;
                Ok(())
            }
            "drop" | "rename" | "dropDatabase" => {
                let is_other =
                    event.own_collection_id().is_some_and(|id| self.collection.is_some_and(|own| own != id));
                if command.of == CollectionType::Collection && !is_other {
                    self.clear();
                    self.collection = None;
                }
                Ok(())
            }
            "truncate" => {
                self.clear();
                Ok(())
            }
            "convertToCapped" | "importCollection" => lost("the collection's contents were replaced"),
            _ => Ok(()),
        }
    }

    fn clear(&mut self) {
        self.evidence.clear();
        self.dirty.clear();
        for (_, old) in self.state.clear() {
            self.unit.changes.push(Seen::Removed { old, cause: Cause::Drop });
        }
    }
}
