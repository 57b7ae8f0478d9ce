//! `mongo-observer match`: documents in, those that match out.

use std::process::ExitCode;

use super::args::Match as Args;
use super::lines;
use crate::bson::RawDoc;
use crate::bson::extjson::parse;
use crate::error::Error;
use crate::query::{Filter, FilterErrorKind};

const BAD_USAGE: u8 = 2;

pub(super) fn match_(args: &Args) -> Result<ExitCode, Error> {
    let filter = match Filter::parse_json(&args.filter) {
        Ok(filter) => filter,
        Err(error) => {
            let whose = match error.kind {
                FilterErrorKind::Refused => "MongoDB refuses this filter",
                FilterErrorKind::Unsupported => "this filter can't be evaluated offline",
            };
            eprintln!("mongo-observer: --filter: {whose}: {error}");
            return Ok(ExitCode::from(BAD_USAGE));
        }
    };
    lines::run(|line, out| {
        let bytes = parse(line).map_err(|error| error.to_string())?;
        let doc = RawDoc::new(&bytes).map_err(|error| error.to_string())?;
        if filter.matches(doc).map_err(|error| error.to_string())? {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        Ok(())
    })
}
