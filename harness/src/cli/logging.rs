// SPDX-License-Identifier: Apache-2.0
use std::io::IsTerminal as _;

use loadgauge_host::environment;
use tracing_subscriber::EnvFilter;

use crate::report::LogStream;

/// Starts to write log messages to standard error.
///
/// [`environment::LOG`] selects them in the syntax of `RUST_LOG`; otherwise the number of `-v` does.
pub(super) fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "loadgauge=info,loadgauge_images=info,warn",
        _ => "loadgauge=debug,loadgauge_images=debug,loadgauge_ignition=debug,info",
    };
    let filter = EnvFilter::try_from_env(environment::LOG).unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogStream::of(std::io::stderr()))
        // What cannot be written to standard error cannot be reported there.
        .log_internal_errors(false)
        .with_ansi(is_colored())
        .with_target(false)
        .without_time()
        .init();
}

/// Whether standard error shows colours and the user has not switched them off
/// (<https://no-color.org>).
fn is_colored() -> bool {
    std::io::stderr().is_terminal() && environment::value(environment::NO_COLOR).is_none()
}
