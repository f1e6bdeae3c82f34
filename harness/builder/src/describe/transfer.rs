// SPDX-License-Identifier: Apache-2.0
//! The transfer file with which systemd-sysupdate fetches later versions of an extension: sysupdate.d(5).

/// The transfer file. Downloads are verified: `SHA256SUMS` at the source needs a detached signature
/// `SHA256SUMS.gpg` of a key that the system trusts. As Flatcar recommends, versions are stored in
/// `/opt/extensions/NAME`, and the current one is linked from `/etc/extensions`.
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

/// The file name of a published image, which the pattern above matches.
pub(super) fn published(name: &str, version: &str, architecture: &str) -> String {
    format!("{name}-{version}-{architecture}.raw")
}
