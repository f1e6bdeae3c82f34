// SPDX-License-Identifier: Apache-2.0
//! Reading Butane, the YAML in which people write Ignition configs.
//!
//! Variant `flatcar`, versions 1.0.0 and 1.1.0 (<https://coreos.github.io/butane/config-flatcar-v1_1/>).
//! Butane itself makes configs of specification 3.4.0 of them; the few keys that 3.3.0 lacks are refused
//! by name rather than lost. The text is read into types that mirror Butane's own (`schema`), what is
//! Butane's alone is then resolved away (`resolve`, `tree`, `mount_unit`), and what remains is written as
//! the JSON of a config.

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
