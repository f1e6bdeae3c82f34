// SPDX-License-Identifier: Apache-2.0
//! Reads Butane, the YAML format of Ignition configs.
//!
//! Variant `flatcar`, versions 1.0.0 and 1.1.0 (<https://coreos.github.io/butane/config-flatcar-v1_1/>).
//! Butane itself writes configs of specification 3.4.0; the few keys that 3.3.0 lacks are errors. The text is
//! read into the types of Butane (`schema`), its own features are resolved (`resolve`, `tree`, `mount_unit`),
//! and the rest is the JSON of a config.

mod error;
mod local;
mod mount_unit;
mod read;
mod resolve;
mod schema;
mod tree;

pub use error::{ButaneCause, ButaneError};

#[cfg(test)]
mod tests;
