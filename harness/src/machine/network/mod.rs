// SPDX-License-Identifier: Apache-2.0
//! How a guest reaches the harness, and the other machines of its scenario.
//!
//! - [`http_server`], [`relay`]: the harness's files over HTTP
//! - [`peer_address`], [`peer_network`]: the network between the machines of a scenario
pub(crate) mod http_server;
pub(crate) mod peer_address;
pub(crate) mod peer_network;
pub(crate) mod relay;
