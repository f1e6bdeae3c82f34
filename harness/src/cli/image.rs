// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use loadgauge_images::host::Store;

use super::workshop::made_releases;
use super::{Exit, Failure, output};

/// `loadgauge image list`
pub(super) fn list() -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let mut text = String::new();
    for (release, path) in made_releases(&store) {
        let era = release.era();
        let _ = writeln!(text, "{:<12} {:<7} {path}", release.to_string(), era.to_string());
    }
    output::print(&text)?;
    if text.is_empty() {
        output::tell("no image was made here yet: loadgauge image build");
    }
    Ok(Exit::Passed)
}
