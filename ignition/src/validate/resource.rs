// SPDX-License-Identifier: Apache-2.0
//! Resources that a guest fetches: URLs, digests, compression, headers.

use ignition_config::v3_3;
use url::Url;

use super::problem::Findings;
use crate::data_url;

/// The URL schemes of Ignition's specification 3.3.0.
const SCHEMES: [&str; 6] = ["http", "https", "tftp", "s3", "gs", "data"];

/// Validates the section `ignition`: configs to merge, proxies, certificate authorities, time-outs.
pub(super) fn ignition(section: &v3_3::Ignition, findings: &mut Findings) {
    if let Some(config) = &section.config {
        for (index, merged) in config.merge.iter().flatten().enumerate() {
            required(merged, &format!("ignition.config.merge[{index}]"), findings);
        }
        if let Some(replace) = &config.replace {
            required(replace, "ignition.config.replace", findings);
        }
    }
    if let Some(proxy) = &section.proxy {
        for (name, url) in [("httpProxy", &proxy.http_proxy), ("httpsProxy", &proxy.https_proxy)] {
            if let Some(url) = url {
                http_only(url, &format!("ignition.proxy.{name}"), findings);
            }
        }
    }
    let authorities = section.security.iter().flat_map(|s| &s.tls).flat_map(|t| &t.certificate_authorities);
    for (index, authority) in authorities.flatten().enumerate() {
        required(authority, &format!("ignition.security.tls.certificateAuthorities[{index}]"), findings);
    }
    if let Some(timeouts) = &section.timeouts {
        let all =
            [("httpTotal", timeouts.http_total), ("httpResponseHeaders", timeouts.http_response_headers)];
        for (name, seconds) in all {
            if seconds.is_some_and(|seconds| seconds < 0) {
                findings.error(format_args!("ignition.timeouts.{name}"), "the time-out is negative");
            }
        }
    }
}

/// Validates a resource that must have a source.
pub(super) fn required(resource: &v3_3::Resource, path: &str, findings: &mut Findings) {
    if resource.source.as_deref().unwrap_or_default().is_empty() {
        findings.error(format_args!("{path}.source"), "the source is missing");
    }
    optional(resource, path, findings);
}

/// Validates a resource that can be absent or empty.
pub(super) fn optional(resource: &v3_3::Resource, path: &str, findings: &mut Findings) {
    match resource.compression.as_deref() {
        None | Some("" | "gzip") => {}
        Some(other) => findings.error_with_hint(
            format_args!("{path}.compression"),
            format_args!("Ignition does not support the compression `{other}`"),
            "use gzip, or remove `compression`",
        ),
    }
    let source = resource.source.as_deref().filter(|source| !source.is_empty());
    if let Some(source) = source {
        url(source, &format!("{path}.source"), findings);
    }
    if let Some(digest) = resource.verification.as_ref().and_then(|v| v.hash.as_deref()) {
        hash(digest, &format!("{path}.verification.hash"), findings);
        if resource.source.is_none() {
            findings.error(format_args!("{path}.verification.hash"), "a digest without a `source`");
        }
    }
    headers(resource, path, findings);
}

fn headers(resource: &v3_3::Resource, path: &str, findings: &mut Findings) {
    let headers = resource.http_headers.as_deref().unwrap_or_default();
    if headers.is_empty() {
        return;
    }
    let path = format!("{path}.httpHeaders");
    let is_http = |source: &str| source.starts_with("http://") || source.starts_with("https://");
    if !resource.source.as_deref().is_some_and(is_http) {
        findings.error(&path, "headers without a `source` that is fetched by http or https");
    }
    for (index, header) in headers.iter().enumerate() {
        if header.name.is_empty() {
            findings.error(format_args!("{path}[{index}].name"), "a header without a name");
        }
        if header.value.as_deref() == Some("") {
            findings.error(format_args!("{path}[{index}].value"), "a header without a value");
        }
    }
    findings.duplicates(&path, headers.iter().map(|header| header.name.as_str()));
}

fn url(source: &str, path: &str, findings: &mut Findings) {
    if source.starts_with("data:") {
        if let Err(error) = data_url::decode(source) {
            findings.error(path, format_args!("the data URL is not valid: {error}"));
        }
        return;
    }
    match Url::parse(source) {
        Err(error) => findings.error_with_hint(
            path,
            format_args!("`{source}` is not a URL: {error}"),
            format_args!("begin with one of {}", SCHEMES.map(|scheme| format!("`{scheme}:`")).join(", ")),
        ),
        Ok(url) if !SCHEMES.contains(&url.scheme()) => findings.error_with_hint(
            path,
            format_args!("Ignition does not support the scheme `{}`", url.scheme()),
            format_args!("use one of `{}`", SCHEMES.join("`, `")),
        ),
        Ok(url) if url.host_str().unwrap_or_default().is_empty() => {
            findings.error(path, format_args!("`{source}` has no host"));
        }
        Ok(_) => {}
    }
}

/// Validates a URL that must be http or https: proxies and Tang servers.
pub(super) fn http_only(source: &str, path: &str, findings: &mut Findings) {
    match Url::parse(source) {
        Err(error) => findings.error(path, format_args!("`{source}` is not a URL: {error}")),
        Ok(url) if !["http", "https"].contains(&url.scheme()) => {
            findings.error(path, format_args!("`{source}` is neither http nor https"));
        }
        Ok(_) => {}
    }
}

fn hash(digest: &str, path: &str, findings: &mut Findings) {
    let form = "write `sha512-` and 128 hexadecimal digits, or `sha256-` and 64";
    let Some((function, sum)) = digest.split_once('-') else {
        return findings.error_with_hint(path, format_args!("`{digest}` does not name its algorithm"), form);
    };
    let expected = match function {
        "sha512" => 128,
        "sha256" => 64,
        _ => {
            return findings.error_with_hint(path, format_args!("unknown algorithm `{function}`"), form);
        }
    };
    if sum.len() != expected {
        let found = sum.len();
        findings.error_with_hint(path, format_args!("{found} digits, but {function} has {expected}"), form);
    } else if let Some(digit) = sum.chars().find(|digit| !matches!(digit, '0'..='9' | 'a'..='f')) {
        // Ignition compares the text with its own digest in lower case.
        findings.error_with_hint(path, format_args!("`{digit}` is not a lower-case hexadecimal digit"), form);
    }
}
