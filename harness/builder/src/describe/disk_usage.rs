// SPDX-License-Identifier: Apache-2.0
//! How large an extension is, in the form of `df --human-readable
//! --output=file,size,used,avail,pcent,fstype ./`, which Flatcar's SDK keeps.
use crate::Format;

/// Two lines. `size` are the bytes of the image and `used` those of what is in it; what a
/// compressed file system holds fills it.
pub(super) fn table(format: Format, size: u64, used: u64) -> String {
    let used = match format {
        Format::Ext4 | Format::Btrfs => used.min(size),
        Format::Directory | Format::Squashfs | Format::Erofs | Format::Ddi => size,
    };
    let percent = if size == 0 { "-".to_owned() } else { format!("{}%", (used * 100).div_ceil(size)) };
    let row = [human(size), human(used), human(size - used)];
    format!(
        "File  Size  Used Avail Use% Type\n./   {:>5} {:>5} {:>5} {percent:>4} {format}\n",
        row[0], row[1], row[2]
    )
}

/// As `df` and `numfmt --to=iec --round=up` write bytes: one digit after the point below ten.
fn human(bytes: u64) -> String {
    let mut unit = 1_u64;
    let mut letters = ["", "K", "M", "G", "T", "P"].into_iter();
    let mut letter = letters.next().unwrap_or_default();
    // What rounds up to a thousand and more of a unit is said in the next.
    while bytes.div_ceil(unit) >= 1024 {
        unit *= 1024;
        letter = letters.next().unwrap_or_default();
    }
    let tenths = (bytes * 10).div_ceil(unit);
    if letter.is_empty() || tenths > 99 {
        format!("{}{letter}", bytes.div_ceil(unit))
    } else {
        format!("{}.{}{letter}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn sizes_are_written_as_coreutils_does() {
        let numbers: Vec<u64> = (0..40)
            .flat_map(|shift| {
                [1_u64 << shift, (1 << shift) - 1, (1 << shift) + 1, 77 << shift, 1_000_003 << shift]
            })
            .filter(|number| *number < 1 << 50)
            .collect();
        let words = numbers.iter().map(u64::to_string);
        let mut numfmt = Tool::find("numfmt").expect("a tool of the host").command();
        let output = numfmt.args(["--to=iec", "--round=up"]).args(words).run().expect("it runs");
        let theirs = String::from_utf8(output.stdout).expect("UTF-8");
        let ours: Vec<String> = numbers.iter().map(|number| human(*number)).collect();
        assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
    }

    #[test]
    fn the_table_reads_like_that_of_df() {
        let tables = [table(Format::Squashfs, 41_000_000, 99_000_000), table(Format::Ext4, 8 << 20, 5 << 20)];
        insta::assert_snapshot!(tables.concat());
    }
}
