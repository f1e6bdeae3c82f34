// SPDX-License-Identifier: Apache-2.0
//! The types of a Butane config (`base/v0_4/schema.go` and `v0_5` in `coreos/butane`).
//!
//! Fields are read under Butane's names and written under Ignition's. Fields that Ignition lacks are resolved
//! before, and never written.

#![expect(clippy::struct_field_names, reason = "the names are Butane's")]

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

/// Declares types that read snake_case, refuse unknown keys, and write camelCase.
macro_rules! schema {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Deserialize, Serialize)]
        #[serde(rename_all(serialize = "camelCase"), deny_unknown_fields)]
        pub(super) struct $name { $($(#[$field_meta])* pub(super) $field: $kind,)* }
    )*};
}

type List<T> = Option<Vec<T>>;
type Text = Option<String>;
type Flag = Option<bool>;
type Number = Option<i64>;

schema! {
    struct Butane {
        #[serde(skip_serializing)]
        #[expect(dead_code, reason = "checked before, and declared so that the key is known")]
        variant: String,
        #[serde(skip_serializing)]
        #[expect(dead_code, reason = "checked before, and declared so that the key is known")]
        version: String,
        ignition: Option<Ignition>,
        kernel_arguments: Option<KernelArguments>,
        passwd: Option<Passwd>,
        storage: Option<Storage>,
        systemd: Option<Systemd>,
    }
    struct Ignition {
        config: Option<IgnitionConfig>,
        proxy: Option<Proxy>,
        security: Option<Security>,
        timeouts: Option<Timeouts>,
    }
    struct IgnitionConfig { merge: List<Resource>, replace: Option<Resource>, }
    struct Proxy { http_proxy: Text, https_proxy: Text, no_proxy: List<String>, }
    struct Security { tls: Option<Tls>, }
    struct Tls { certificate_authorities: List<Resource>, }
    struct Timeouts { http_response_headers: Number, http_total: Number, }
    struct KernelArguments { should_exist: List<String>, should_not_exist: List<String>, }
    struct Resource {
        compression: Text,
        http_headers: List<Header>,
        source: Text,
        #[serde(skip_serializing)]
        inline: Option<Spanned<String>>,
        #[serde(skip_serializing)]
        local: Option<Spanned<String>>,
        verification: Option<Verification>,
    }
    struct Header { name: String, value: Text, }
    struct Verification { hash: Text, }
    struct Passwd { groups: List<Group>, users: List<User>, }
    struct Group { gid: Number, name: String, password_hash: Text, should_exist: Flag, system: Flag, }
    struct User {
        gecos: Text,
        groups: List<String>,
        home_dir: Text,
        name: String,
        no_create_home: Flag,
        no_log_init: Flag,
        no_user_group: Flag,
        password_hash: Text,
        primary_group: Text,
        shell: Text,
        should_exist: Flag,
        ssh_authorized_keys: List<String>,
        #[serde(skip_serializing)]
        ssh_authorized_keys_local: List<Spanned<String>>,
        system: Flag,
        uid: Number,
    }
    struct Storage {
        directories: List<Directory>,
        disks: List<Disk>,
        files: List<File>,
        filesystems: List<Filesystem>,
        links: List<Link>,
        luks: List<Luks>,
        raid: List<Raid>,
        #[serde(skip_serializing)]
        trees: List<Tree>,
    }
    struct Owner { id: Number, name: Text, }
    struct Directory {
        group: Option<Owner>,
        mode: Option<Spanned<i64>>,
        overwrite: Flag,
        path: String,
        user: Option<Owner>,
    }
    struct File {
        append: List<Resource>,
        contents: Option<Resource>,
        group: Option<Owner>,
        mode: Option<Spanned<i64>>,
        overwrite: Flag,
        path: String,
        user: Option<Owner>,
    }
    struct Link {
        group: Option<Owner>,
        hard: Flag,
        overwrite: Flag,
        path: String,
        target: Text,
        user: Option<Owner>,
    }
    struct Tree { local: Spanned<String>, path: Text, }
    struct Disk { device: String, partitions: List<Partition>, wipe_table: Flag, }
    struct Partition {
        guid: Text,
        label: Text,
        number: Number,
        resize: Flag,
        should_exist: Flag,
        #[serde(rename(serialize = "sizeMiB"))]
        size_mib: Number,
        #[serde(rename(serialize = "startMiB"))]
        start_mib: Number,
        type_guid: Text,
        wipe_partition_entry: Flag,
    }
    struct Filesystem {
        device: String,
        format: Text,
        label: Text,
        mount_options: List<String>,
        options: List<String>,
        path: Text,
        uuid: Text,
        wipe_filesystem: Flag,
        #[serde(skip_serializing)]
        with_mount_unit: Option<Spanned<bool>>,
    }
    struct Luks {
        clevis: Option<Clevis>,
        device: Text,
        #[serde(skip_serializing)]
        discard: Option<Spanned<bool>>,
        key_file: Option<Resource>,
        label: Text,
        name: String,
        #[serde(skip_serializing)]
        open_options: Option<Spanned<Vec<String>>>,
        options: List<String>,
        uuid: Text,
        wipe_volume: Flag,
    }
    struct Clevis { custom: Option<Custom>, tang: List<Tang>, threshold: Number, tpm2: Flag, }
    struct Custom { config: Text, needs_network: Flag, pin: Text, }
    struct Tang {
        #[serde(skip_serializing)]
        advertisement: Option<Spanned<String>>,
        thumbprint: Text,
        url: Text,
    }
    struct Raid { devices: List<String>, level: Text, name: String, options: List<String>, spares: Number, }
    struct Systemd { units: List<Unit>, }
    struct Unit {
        contents: Text,
        #[serde(skip_serializing)]
        contents_local: Option<Spanned<String>>,
        dropins: List<Dropin>,
        enabled: Flag,
        mask: Flag,
        name: String,
    }
    struct Dropin {
        contents: Text,
        #[serde(skip_serializing)]
        contents_local: Option<Spanned<String>>,
        name: String,
    }
}
