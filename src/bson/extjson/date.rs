//! ISO-8601 text of dates: the proleptic Gregorian calendar, in integers.

const DAY_MS: i64 = 86_400_000;
const YEAR_10000_MS: i64 = 253_402_300_800_000;
/// A cycle of the calendar: 400 years, counted from a first of March so that a leap day is the last of its year.
const CYCLE_DAYS: i64 = 146_097;
/// From 1 March of the year 0 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;

/// Whether relaxed Extended JSON writes that date, in milliseconds since 1970, as text: the years 1970 to 9999.
pub(super) fn fits_iso(ms: i64) -> bool {
    (0..YEAR_10000_MS).contains(&ms)
}

/// Appends a date that [`fits_iso`], such as `2026-11-24T10:00:00.123Z`; without a fraction where there is none.
pub(super) fn write_iso(out: &mut Vec<u8>, ms: i64) {
    let text = iso(ms);
    let (whole, fraction) = text.split_at(19);
    out.extend_from_slice(whole);
    out.extend_from_slice(if fraction == b".000Z" { b"Z" } else { fraction });
}

/// Appends any date as Java's `ISO_DATE_TIME` does: a year beyond 0 to 9999 has its sign, and a fraction no zeros at its end.
pub(super) fn write_java_iso(out: &mut Vec<u8>, ms: i64) {
    let (year, ..) = civil(ms.div_euclid(DAY_MS));
    match year {
        ..0 => out.push(b'-'),
        0..10_000 => {}
        _ => out.push(b'+'),
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(year.unsigned_abs());
    out.extend((digits.len()..4).map(|_| b'0'));
    out.extend_from_slice(digits.as_bytes());
    // The calendar repeats itself, so a year that fits lends everything but its number.
    let text = iso(ms.rem_euclid(CYCLE_DAYS * DAY_MS));
    let fraction = text[20..23].iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 2);
    out.extend_from_slice(&text[4..19 + fraction]);
    out.push(b'Z');
}

/// The text of a date that [`fits_iso`], with its milliseconds.
fn iso(ms: i64) -> [u8; 24] {
    let (year, month, day) = civil(ms / DAY_MS);
    let [year, month, day, rest] =
        [year, month, day, ms % DAY_MS].map(|part| u32::try_from(part).unwrap_or(0));
    let second = rest / 1000;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second / 3600);
    digits(&mut text[14..16], second / 60 % 60);
    digits(&mut text[17..19], second % 60);
    digits(&mut text[20..23], rest % 1000);
    text
}

/// Reads `YYYY-MM-DDTHH:MM:SS`, a fraction of which milliseconds count, and `Z` or an offset such as `+01:00` or `+0100`.
pub(super) fn parse_iso(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let days = days(year, month, day);
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = rest.split_at(rest.find(|c: char| !matches!(c, '.' | '0'..='9'))?);
    let minutes = hour * 60 + minute - offset_minutes(zone)?;
    Some(days * DAY_MS + (minutes * 60 + second) * 1000 + fraction_ms(fraction)?)
}

fn fraction_ms(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix('.').filter(|digits| (1..=9).contains(&digits.len()))?;
    let nanos = number(digits)? * 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
    Some(nanos / 1_000_000)
}

fn offset_minutes(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    if minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Three numbers of fixed width.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |width| number(parts.next().filter(|part| part.len() == width)?);
    let found = [next(widths[0])?, next(widths[1])?, next(widths[2])?];
    parts.next().is_none().then_some(found)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn digits(text: &mut [u8], mut value: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day counted from 1970.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    // Leap days are taken out first: one in 4 years, but not in 100, but in 400.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, months repeat a pattern of 153 days in five months.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next_year, month, day)
}

/// The inverse of [`civil`]; a month or a day that does not exist gives some other day.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    cycle * CYCLE_DAYS + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, YEAR_10000_MS, civil, days, fits_iso, parse_iso, write_iso};

    fn iso(ms: i64) -> String {
        let mut out = Vec::new();
        write_iso(&mut out, ms);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_written_with_milliseconds_only_where_there_are_any() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_827_696_007), "2000-02-29T12:34:56.007Z");
        assert_eq!(iso(1_795_514_400_123), "2026-11-24T10:00:00.123Z");
        assert_eq!(iso(YEAR_10000_MS - 1), "9999-12-31T23:59:59.999Z");
        assert!(!fits_iso(-1) && !fits_iso(YEAR_10000_MS) && !fits_iso(i64::MIN) && !fits_iso(i64::MAX));
    }

    #[test]
    fn every_day_from_the_year_0_to_10000_reads_back_and_follows_the_day_before() {
        let mut before = civil(days(0, 1, 1) - 1);
        for day in days(0, 1, 1)..YEAR_10000_MS / DAY_MS {
            let date = civil(day);
            assert!(date > before, "{date:?} after {before:?}");
            assert_eq!(days(date.0, date.1, date.2), day);
            before = date;
        }
        assert_eq!(before, (9999, 12, 31));
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        assert_eq!(parse_iso("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_iso("1969-12-31T22:30:00.5-0130"), Some(500));
        assert_eq!(parse_iso("1970-01-01T00:00:00.123999Z"), Some(123));
        assert_eq!(parse_iso("1969-12-31T23:59:59.999Z"), Some(-1));
        assert_eq!(parse_iso("0000-03-01T00:00:00Z"), Some(-719_468 * DAY_MS));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T10:00:00",
            "2026-11-24 10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T10:60:00Z",
            "2026-11-24T10:00:60Z",
            "2026-11-24T10:00:00.Z",
            "2026-11-24T10:00:00.0123456789Z",
            "2026-11-24T10:00:00.1.2Z",
            "2026-11-24T10:00:00+1:00",
            "2026-11-24T10:00:00+24:00",
            "2026-11-24T10:00:00+",
            "+026-11-24T10:00:00Z",
            "2026-11-24T10:00:00é",
            "2026-11-2éT10:00:00Z",
        ] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }
}
