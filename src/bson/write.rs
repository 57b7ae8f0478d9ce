//! Writing BSON, element after element, into one buffer.

use super::{Kind, RawDoc, RawValue};

/// A document that is being written at the end of a buffer. Its length is filled in by [`DocWriter::finish`], without which the buffer
/// holds no document.
#[derive(Debug)]
#[must_use = "a document ends with `finish`"]
pub struct DocWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> DocWriter<'b> {
    /// Begins a document behind what `out` holds.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Self { out, start }
    }

    /// Appends a value as it is.
    pub fn append(&mut self, name: &[u8], value: RawValue<'_>) {
        self.append_bytes(name, value.kind, value.bytes);
    }

    /// Appends a document as it is.
    pub fn append_doc(&mut self, name: &[u8], doc: RawDoc<'_>) {
        self.append_bytes(name, Kind::Document, doc.as_bytes());
    }

    /// Appends a string.
    pub fn append_str(&mut self, name: &[u8], text: &[u8]) {
        self.append_text(name, |out| out.extend_from_slice(text));
    }

    /// Appends a string, whose text `write` appends to the buffer.
    pub fn append_text(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.head(name, Kind::String);
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        write(self.out);
        self.out.push(0);
        let size = length(self.out.len() - start - 4);
        self.out[start..start + 4].copy_from_slice(&size);
    }

    /// Appends an int32.
    pub fn append_i32(&mut self, name: &[u8], number: i32) {
        self.append_bytes(name, Kind::Int32, &number.to_le_bytes());
    }

    /// Appends an int64.
    pub fn append_i64(&mut self, name: &[u8], number: i64) {
        self.append_bytes(name, Kind::Int64, &number.to_le_bytes());
    }

    /// Appends a boolean.
    pub fn append_bool(&mut self, name: &[u8], truth: bool) {
        self.append_bytes(name, Kind::Bool, &[u8::from(truth)]);
    }

    /// Appends null.
    pub fn append_null(&mut self, name: &[u8]) {
        self.append_bytes(name, Kind::Null, &[]);
    }

    /// Appends a date, in milliseconds since 1970.
    pub fn append_date(&mut self, name: &[u8], millis: i64) {
        self.append_bytes(name, Kind::Date, &millis.to_le_bytes());
    }

    /// Appends a timestamp.
    pub fn append_timestamp(&mut self, name: &[u8], t: u32, i: u32) {
        self.append_bytes(name, Kind::Timestamp, &((u64::from(t) << 32) | u64::from(i)).to_le_bytes());
    }

    /// Appends binary data of a subtype other than 2, whose layout is another.
    pub fn append_binary(&mut self, name: &[u8], subtype: u8, bytes: &[u8]) {
        self.append_binary_of_two(name, subtype, bytes, &[]);
    }

    /// Appends binary data that comes in two pieces.
    pub(crate) fn append_binary_of_two(&mut self, name: &[u8], subtype: u8, first: &[u8], second: &[u8]) {
        self.head(name, Kind::Binary);
        self.out.extend_from_slice(&length(first.len() + second.len()));
        self.out.push(subtype);
        self.out.extend_from_slice(first);
        self.out.extend_from_slice(second);
    }

    /// Appends a value whose bytes, as BSON stores them, are those of `kind`.
    pub(crate) fn append_bytes(&mut self, name: &[u8], kind: Kind, bytes: &[u8]) {
        self.head(name, kind);
        self.out.extend_from_slice(bytes);
    }

    /// Begins a document within this one.
    pub fn document(&mut self, name: &[u8]) -> DocWriter<'_> {
        self.head(name, Kind::Document);
        DocWriter::new(self.out)
    }

    /// Begins an array; the names of its elements are the caller's: "0", "1", …
    pub fn array(&mut self, name: &[u8]) -> DocWriter<'_> {
        self.head(name, Kind::Array);
        DocWriter::new(self.out)
    }

    /// Ends the document.
    pub fn finish(self) {
        self.out.push(0);
        let size = length(self.out.len() - self.start);
        self.out[self.start..self.start + 4].copy_from_slice(&size);
    }

    fn head(&mut self, name: &[u8], kind: Kind) {
        debug_assert!(!name.contains(&0), "a name ends at its first zero");
        self.out.push(kind as u8);
        self.out.extend_from_slice(name);
        self.out.push(0);
    }
}

fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).expect("what a server sends is smaller than 2 GiB").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::extjson::{Mode, parse, write_doc};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = b"before".to_vec();
        let mut doc = DocWriter::new(&mut out);
        doc.append_str(b"s", "\u{e9}".as_bytes());
        doc.append_i32(b"i", -1);
        doc.append_i64(b"l", 1 << 40);
        doc.append_bool(b"b", true);
        doc.append_null(b"");
        doc.append_date(b"d", 5);
        doc.append_timestamp(b"t", 7, 8);
        doc.append_binary(b"x", 0, &[1, 2]);
        let mut nested = doc.document(b"n");
        let mut array = nested.array(b"a");
        array.append_doc(b"0", RawDoc::EMPTY);
        array.finish();
        nested.finish();
        doc.finish();
        let text = r#"{"s":"é","i":{"$numberInt":"-1"},"l":{"$numberLong":"1099511627776"},"b":true,"":null,"d":{"$date":{"$numberLong":"5"}},"t":{"$timestamp":{"t":7,"i":8}},"x":{"$binary":{"base64":"AQI=","subType":"00"}},"n":{"a":[{}]}}"#;
        assert_eq!(&out[..6], b"before");
        assert_eq!(out[6..], parse(text).unwrap());
        let mut written = Vec::new();
        write_doc(&mut written, RawDoc::new(&out[6..]).unwrap(), Mode::Canonical).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }
}
