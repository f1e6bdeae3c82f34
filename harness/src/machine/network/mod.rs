// SPDX-License-Identifier: Apache-2.0
//! The guest's connections to the harness and to the other machines of its scenario.
//!
//! - [`http_server`], [`relay`]: the harness's files over HTTP
//! - [`peer_address`], [`peer_network`]: the network of a scenario's machines
pub(crate) mod http_server;
pub(crate) mod peer_address;
pub(crate) mod peer_network;
pub(crate) mod relay;
