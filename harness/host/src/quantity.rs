// SPDX-License-Identifier: Apache-2.0
//! Durations and sizes as people write them.
//!
//! Sizes are read here and not by a crate: those take `GB` for 10^9 bytes and a number without a unit
//! for bytes, which is seldom what the writer of a machine's memory meant.
use std::time::Duration;

/// Units of a size, largest first, and the power of two that each stands for.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Reads a duration greater than zero, such as `90s` or `2min 30s`.
///
/// # Errors
/// The text is not a duration, or is zero; the message says which.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration such as `90s` or `2min`: {error}"))?;
    if duration.is_zero() {
        return Err(format!("`{text}`: the duration must be greater than zero"));
    }
    Ok(duration)
}

/// Reads a size such as `512MiB` or `8GiB` as bytes. `0` needs no unit.
///
/// # Errors
/// The text is not a whole number with a unit, or exceeds 64 bits; the message says which.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let unit = UNITS.iter().find_map(|(unit, bits)| Some((text.trim().strip_suffix(unit)?, *bits)));
    let Some((number, bits)) = unit else {
        return if text.trim() == "0" {
            Ok(0)
        } else {
            Err(format!(
                "`{text}` has none of the units KiB, MiB, GiB and TiB; write it like `512MiB` or `8GiB`"
            ))
        };
    };
    let number: u64 = number
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is not a whole number with a unit, such as `512MiB`"))?;
    number.checked_mul(1 << bits).ok_or_else(|| format!("`{text}` is larger than 64 bits can hold"))
}

/// Writes a size in the largest unit that it reaches, with one decimal place: `1.5 GiB`.
pub fn format_size(bytes: u64) -> String {
    let Some((unit, bits)) = UNITS[1..].iter().find(|(_, bits)| bytes >> bits > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> bits;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2min 30s"), Ok(Duration::from_secs(150)));
        for wrong in ["", "0s", "ten seconds", "10", "-1s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(parse_size("8GiB"), Ok(8 << 30));
        assert_eq!(parse_size("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_size("0"), Ok(0));
        for wrong in ["", "2", "GiB", "8GB", "1.5GiB", "-1MiB", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_fits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (13_142_851_584, "12.2 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(format_size(bytes), expected);
        }
    }
}
