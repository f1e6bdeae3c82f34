// SPDX-License-Identifier: Apache-2.0
//! Every environment variable that changes the behaviour of loadgauge. The README lists them too.

/// The directory of scenarios and recipes that replaces the embedded catalogue.
pub const SCENARIOS: &str = "LOADGAUGE_SCENARIOS";
/// The image for commands without an image argument.
pub const IMAGE: &str = "LOADGAUGE_IMAGE";
/// The accelerator: `auto`, `kvm` or `tcg`.
pub const ACCEL: &str = "LOADGAUGE_ACCEL";
/// The firmware for scenarios that do not set one.
pub const FIRMWARE: &str = "LOADGAUGE_FIRMWARE";
/// How machines start: `auto`, `warm` or `cold`.
pub const START: &str = "LOADGAUGE_START";
/// The maximum size of all snapshots together.
pub const SNAPSHOTS_SIZE: &str = "LOADGAUGE_SNAPSHOTS_SIZE";
/// The directory of the store.
pub const CACHE: &str = "LOADGAUGE_CACHE";
/// The Debian mirror for stand-in images.
pub const DEBIAN_MIRROR: &str = "LOADGAUGE_DEBIAN_MIRROR";
/// The filter of log messages on standard error.
pub const LOG: &str = "LOADGAUGE_LOG";
/// The time of every file in an extension, in seconds since 1970.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Switches colours off.
pub const NO_COLOR: &str = "NO_COLOR";
/// The kind of terminal; `dumb` switches the progress display off.
pub const TERM: &str = "TERM";
/// Set by GitHub Actions; annotations are printed then.
pub const GITHUB_ACTIONS: &str = "GITHUB_ACTIONS";
/// Set by GitHub Actions: the file that the summary is appended to.
pub const GITHUB_STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// All of them.
pub const ALL: [&str; 14] = [
    SCENARIOS,
    IMAGE,
    ACCEL,
    FIRMWARE,
    START,
    SNAPSHOTS_SIZE,
    CACHE,
    DEBIAN_MIRROR,
    LOG,
    SOURCE_DATE_EPOCH,
    NO_COLOR,
    TERM,
    GITHUB_ACTIONS,
    GITHUB_STEP_SUMMARY,
];

/// The value of a variable, or `None` where it is unset, empty or not UTF-8.
pub fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
