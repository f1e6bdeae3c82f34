// SPDX-License-Identifier: Apache-2.0
//! `loadgauge image`: one file per subcommand. `page` and `extension` are the texts of `inspect`; `vendor` builds the
//! extensions that are part of a stand-in image.
mod build;
mod command;
mod extension;
mod inspect;
mod list;
mod page;
mod prune;
mod vendor;
mod verify;

pub(super) use command::{ImageCommand, run};
