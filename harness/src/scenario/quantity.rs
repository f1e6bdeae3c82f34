// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

/// Reads a duration such as `90s` or `2min 30s`; it must be longer than nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("`{text}` is not a duration: {error}"))?;
    if duration.is_zero() {
        return Err(format!("`{text}` is no time at all"));
    }
    Ok(duration)
}

/// Units of a size in bytes, and how many MiB each is worth.
const UNITS: &[(&str, u32)] = &[("MiB", 1), ("GiB", 1024)];

/// Reads a size such as `2GiB` as MiB.
pub(super) fn mebibytes(text: &str) -> Result<u32, String> {
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.trim().strip_suffix(unit)?, *factor)))
        .ok_or_else(|| format!("`{text}` has no unit that is known here"))?;
    let number: u32 =
        number.trim().parse().map_err(|_| format!("`{text}` does not begin with a whole number"))?;
    match number.checked_mul(factor) {
        Some(0) => Err(format!("`{text}` is no memory at all")),
        Some(size) => Ok(size),
        None => Err(format!("`{text}` is more than any machine has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2min 30s"), Ok(Duration::from_secs(150)));
        for wrong in ["", "0s", "ten seconds", "10", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(mebibytes("512MiB"), Ok(512));
        assert_eq!(mebibytes("2 GiB"), Ok(2048));
        for wrong in ["", "2", "2GB", "0GiB", "1.5GiB", "9999999GiB"] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
    }
}
