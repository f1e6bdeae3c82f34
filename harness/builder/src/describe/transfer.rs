// SPDX-License-Identifier: Apache-2.0
//! How systemd-sysupdate fetches an extension and its successors: sysupdate.d(5).

/// The transfer file. What is fetched is verified: `SHA256SUMS` at the source needs a detached
/// signature `SHA256SUMS.gpg` by a key that the system trusts. It is laid out for Flatcar: versions
/// in `/opt/extensions/NAME`, the current one linked from `/etc/extensions`.
pub(super) fn text(name: &str, url: &str) -> String {
    let url = url.trim_end_matches('/');
    format!(
        "[Transfer]\n\
         Verify=true\n\
         \n\
         [Source]\n\
         Type=url-file\n\
         Path={url}/\n\
         MatchPattern={name}-@v-%a.raw\n\
         \n\
         [Target]\n\
         InstancesMax=3\n\
         Type=regular-file\n\
         Path=/opt/extensions/{name}\n\
         MatchPattern={name}-@v-%a.raw\n\
         Mode=0644\n\
         CurrentSymlink=/etc/extensions/{name}.raw\n"
    )
}

/// The name that an image is published under, which the pattern above matches.
pub(super) fn published(name: &str, version: &str, architecture: &str) -> String {
    format!("{name}-{version}-{architecture}.raw")
}
