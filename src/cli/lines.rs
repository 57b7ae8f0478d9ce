//! Lines in, lines out: what the offline commands have in common.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

use crate::error::{Error, ErrorKind};

/// The largest document has a little more than 16 MiB, and a small multiple of that as text.
const LINE_BYTES_MAX: usize = 256 * 1024 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// Calls `convert` for each line of standard input that is not empty, and writes what it appends to standard output. Where it gives a
/// reason instead, that is told with the line's number, and the exit code at the end is 1.
pub(super) fn run(convert: impl FnMut(&str, &mut Vec<u8>) -> Result<(), String>) -> Result<ExitCode, Error> {
    let input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
    let output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    match each(input, output, io::stderr(), convert) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        // Whoever reads has seen enough.
        Err(Interrupted::Writing(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(Interrupted::Writing(error)) => {
            Err(Error::caused(ErrorKind::Local, "standard output takes no more", error))
        }
        Err(Interrupted::Reading(error)) => {
            Err(Error::caused(ErrorKind::Local, "standard input can't be read", error))
        }
    }
}

/// Why the end of the input was not reached.
#[derive(Debug)]
enum Interrupted {
    Reading(io::Error),
    Writing(io::Error),
}

/// How many lines were bad.
fn each(
    mut input: BufReader<impl Read>,
    mut output: impl Write,
    mut complaints: impl Write,
    mut convert: impl FnMut(&str, &mut Vec<u8>) -> Result<(), String>,
) -> Result<u64, Interrupted> {
    let (mut line, mut out, mut bad) = (Vec::new(), Vec::new(), 0);
    for number in 1_u64.. {
        if input.buffer().is_empty() {
            output.flush().map_err(Interrupted::Writing)?;
        }
        if !read_line(&mut input, &mut line, LINE_BYTES_MAX).map_err(Interrupted::Reading)? {
            break;
        }
        out.clear();
        match text(&line).and_then(|text| if text.is_empty() { Ok(()) } else { convert(text, &mut out) }) {
            Ok(()) => output.write_all(&out).map_err(Interrupted::Writing)?,
            Err(reason) => {
                bad += 1;
                // Nobody may be listening; the exit code tells it, too.
                let _ = writeln!(complaints, "mongo-observer: line {number}: {reason}");
            }
        }
    }
    output.flush().map_err(Interrupted::Writing)?;
    Ok(bad)
}

fn text(line: &[u8]) -> Result<&str, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {} MiB", LINE_BYTES_MAX >> 20));
    }
    std::str::from_utf8(line).map(str::trim).map_err(|error| format!("not UTF-8: {error}"))
}

/// Reads a line; false at the end of the input. Of one that is longer than `bytes_max` only a little more than that is kept.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    line.clear();
    let read = input.by_ref().take(bytes_max as u64 + 1).read_until(b'\n', line)?;
    if read > bytes_max && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        let mut input = BufReader::with_capacity(2, &b"123\n1234\n12345678\n\n12"[..]);
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while read_line(&mut input, &mut line, 4).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["123\n", "1234\n", "12345", "\n", "12"]);
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_and_leaves_nothing_behind() {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let input = BufReader::new(&b"a\n\nb\nc"[..]);
        let bad = each(input, &mut out, &mut complaints, |line, out| {
            out.extend_from_slice(line.as_bytes());
            if line == "b" { Err("is b".to_owned()) } else { Ok(()) }
        });
        assert_eq!((bad.unwrap(), &out[..]), (1, &b"ac"[..]));
        assert_eq!(complaints, b"mongo-observer: line 3: is b\n");
    }
}
