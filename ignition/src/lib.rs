// SPDX-License-Identifier: Apache-2.0
//! stub until the crate lands
pub mod delivery {
    //! stub
    use camino::Utf8PathBuf;
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Delivery {
        #[default]
        Auto,
        Inline,
        Http,
    }
    #[derive(Debug, Clone)]
    pub struct Payload {
        pub name: String,
        pub kind: PayloadKind,
    }
    #[derive(Debug, Clone)]
    pub enum PayloadKind {
        Image { path: Utf8PathBuf, size: u64, sha512: String },
        Directory { path: Utf8PathBuf },
    }
    #[derive(Debug, Clone)]
    pub struct Served {
        pub url_path: String,
        pub file: Utf8PathBuf,
        pub sha512: String,
    }
}
#[derive(Debug, Clone)]
pub struct Config;
