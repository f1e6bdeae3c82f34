// SPDX-License-Identifier: Apache-2.0
//! The recipe: a TOML file that describes how an extension is built.
//!
//! - `definition`: the recipe as a whole; `sections`: its sources; `finish`: its other tables
//! - `name`: the names and versions that an extension can have
//! - `keys`: the keys with their types, for messages
//! - `error`: errors at a place in a recipe
//!
//! Reading and checking a recipe needs the grammars of all sources, and is in `recipe_reader`.
mod definition;
mod error;
mod finish;
mod keys;
mod name;
mod sections;

pub use definition::{Compatible, Publish, Recipe};
pub use error::RecipeError;
pub use finish::{Etc, Finish};
pub use sections::{ArchiveSection, DebianSection, FileSection, GentooSection, ImageSection, TreeSection};

pub(super) use keys::RECIPE as KEYS;
pub(super) use name::{check_name, is_version};
