//! Type bits: what the bytes of a KeyString leave out, one bit stream for the whole of it.

/// Collects bits; each byte is filled from its lowest bit up.
#[derive(Debug, Default)]
pub(crate) struct TypeBits {
    bytes: Vec<u8>,
    count: usize,
}

impl TypeBits {
    /// Appends the `count` low bits of `value`, the highest of them first.
    pub(crate) fn push(&mut self, value: u32, count: u32) {
        for place in (0..count).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> place & 1 == 1
                && let Some(last) = self.bytes.last_mut()
            {
                *last |= 1 << (self.count % 8);
            }
            self.count += 1;
        }
    }

    /// As the server stores them; nothing where every bit is zero.
    pub(crate) fn encode(self) -> Vec<u8> {
        let count = self.bytes.len();
        match &self.bytes[..] {
            bytes if bytes.iter().all(|byte| *byte == 0) => Vec::new(),
            [byte] if *byte < 0x80 => self.bytes,
            _ => {
                let mut encoded = if let Ok(short @ ..=127) = u8::try_from(count) {
                    vec![0x80 + short]
                } else {
                    let long = u32::try_from(count).unwrap_or(u32::MAX);
                    [&[0x80][..], &long.to_le_bytes()].concat()
                };
                encoded.extend_from_slice(&self.bytes);
                encoded
            }
        }
    }
}
