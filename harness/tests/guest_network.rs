// SPDX-License-Identifier: Apache-2.0
//! What a guest reaches: the harness and nothing else, or the host's network where its scenario asks
//! for that. Two machines run side by side, so that what one of them has open is there for the other.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::net::{Ipv4Addr, TcpListener};

use guest_run::GuestRun;
use loadgauge::check::Outcome;
use loadgauge::runner::EventKind;

/// Tries to reach the host as QEMU's user network shows it (10.0.2.2), the name server that it offers,
/// and a place on the internet; says which of them answer.
const SCRIPT: &str = r#"
for target in 10.0.2.2/PORT 10.0.2.2/22 10.0.2.3/53 192.0.2.1/80 1.1.1.1/443; do
    timeout 3 bash -c "</dev/tcp/$target" 2>/dev/null && echo "$target answers"
done
true
"#;

/// A scenario whose guest finds the harness, and of the rest what is expected.
fn scenario(network: &str, port: u16, expected: &str) -> String {
    format!(
        "summary = \"what a guest with the network `{network}` reaches\"\n\
         [machine]\nnetwork = \"{network}\"\n\
         [[step]]\nsummary = \"what answers\"\ntimeout = \"60s\"\n\
         run = '''{}'''\nstdout.{expected}\n",
        SCRIPT.replace("PORT", &port.to_string())
    )
}

#[test]
#[cfg_attr(not(feature = "all-guest-tests"), ignore = "`make test-all` boots it")]
fn a_guest_reaches_the_harness_alone_unless_it_is_let_out() {
    // Something of the host's that must not be reached, and must be where the scenario says so.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || while listener.accept().is_ok() {});
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let shut = write("shut.toml", scenario("hermetic", port, "equals = \"\""));
    let open =
        write("open.toml", scenario("internet", port, &format!("contains = \"10.0.2.2/{port} answers\"")));
    let run = GuestRun::of(&[&shut, &open]).finish();
    run.assert(0, &["verdict: passed"]);
    for name in ["shut", "open"] {
        let EventKind::ScenarioFinished { outcome, .. } = run.end_of(name) else { unreachable!() };
        assert_eq!(outcome, Outcome::Passed, "`{name}`");
    }
}
