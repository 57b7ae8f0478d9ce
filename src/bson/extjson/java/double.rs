//! Doubles as Java's `Double.toString` writes them, by its rules since Java 19; earlier ones print a few with more digits than needed.

/// From here on, and below [`PLAIN_MIN`], a number has an exponent.
const PLAIN_MAX: f64 = 1e7;
const PLAIN_MIN: f64 = 1e-3;

/// Appends a double: `0.1`, `12.0`, `1.0E7`, `4.9E-324`, `-Infinity`, `NaN`.
pub(super) fn write(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    match value.abs() {
        f64::INFINITY => out.extend_from_slice(b"Infinity"),
        0.0 => out.extend_from_slice(b"0.0"),
        value => positive(out, value),
    }
}

fn positive(out: &mut Vec<u8>, value: f64) {
    let mut digits = Digits::of(ryu::Buffer::new().format_finite(value));
    if digits.count == 1 {
        digits = two_digits(value).unwrap_or(digits);
    }
    let Digits { text, count, exponent } = digits;
    let (first, rest) = text[..count].split_at(1);
    if !(PLAIN_MIN..PLAIN_MAX).contains(&value) {
        out.extend_from_slice(first);
        fraction(out, rest);
        out.push(b'E');
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
    } else if let Ok(whole) = usize::try_from(exponent) {
        let (whole, rest) = text.split_at(whole + 1);
        out.extend_from_slice(whole);
        fraction(out, &rest[..count.saturating_sub(whole.len())]);
    } else {
        out.extend_from_slice(b"0.");
        out.extend((exponent..-1).map(|_| b'0'));
        out.extend_from_slice(&text[..count]);
    }
}

/// At least one digit follows the point.
fn fraction(out: &mut Vec<u8>, digits: &[u8]) {
    out.push(b'.');
    out.extend_from_slice(if digits.is_empty() { b"0" } else { digits });
}

/// Java writes at least two digits, and of those that read back as the same number the closest. It makes a difference among the smallest
/// numbers only: 4.9E-324, where one digit, 5E-324, would do.
fn two_digits(value: f64) -> Option<Digits> {
    const DOUBT_MAX: f64 = 1e-320;
    if value > DOUBT_MAX {
        return None;
    }
    let text = format!("{value:.1e}");
    (text.parse() == Ok(value)).then(|| Digits::of(&text))
}

/// A number's digits, and zeros behind them.
struct Digits {
    text: [u8; 24],
    /// Without zeros at the end.
    count: usize,
    /// The power of ten of the first digit.
    exponent: i32,
}

impl Digits {
    /// Reads `12.5`, `0.001`, `1.25e-9`: anything positive, in plain or in scientific notation.
    fn of(number: &str) -> Self {
        let (mantissa, power) = number.split_once('e').unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = whole.bytes().chain(fraction.bytes());
        let zeros = all.clone().take_while(|digit| *digit == b'0').count();
        let mut digits = Self { text: [b'0'; 24], count: 0, exponent: 0 };
        for (number, (place, digit)) in digits.text.iter_mut().zip(all.skip(zeros)).enumerate() {
            *place = digit;
            if digit != b'0' {
                digits.count = number + 1;
            }
        }
        let [whole, zeros] = [whole.len(), zeros].map(|count| i32::try_from(count).unwrap_or(0));
        digits.exponent = power.parse().unwrap_or(0) + whole - zeros - 1;
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::write;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_written_as_java_25_writes_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (100.0, "100.0"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.002, "0.002"),
            (0.012_5, "0.0125"),
            (9.99e-4, "9.99E-4"),
            (1.0e-5, "1.0E-5"),
            (1_234_567.125, "1234567.125"),
            (9_999_999.0, "9999999.0"),
            (9_999_999.999_999_998, "9999999.999999998"),
            (1.0e7, "1.0E7"),
            (1.234_567_891_25e8, "1.23456789125E8"),
            (1.0e10, "1.0E10"),
            (1.0e21, "1.0E21"),
            (2.0e23, "2.0E23"),
            (1.0e23, "1.0E23"),
            (8.41e21, "8.41E21"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (5e-324, "4.9E-324"),
            (1e-323, "9.9E-324"),
            (1.5e-323, "1.5E-323"),
            (2e-323, "2.0E-323"),
            (3e-323, "3.0E-323"),
            (9.9e-323, "9.9E-323"),
            (4.94e-322, "4.94E-322"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_double_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            let text = text(value);
            if value.is_finite() {
                proptest::prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
                proptest::prop_assert!(text.contains('.'));
            }
        }
    }
}
