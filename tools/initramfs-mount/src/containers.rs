// SPDX-License-Identifier: GPL-2.0

//! Containers for OCI runtimes.

use crate::{archive::Archive, paths};
use anyhow::Result;
use serde_json::json;

/// Adds containers: `/c` says where it is, `/sleep` does nothing for a while, and `/c-userns` runs
/// `/escape` with capabilities in a user namespace. What they must not see is `/host-file`.
pub fn add(mut archive: Archive) -> Result<Archive> {
    for dir in ["run", "c", "c-userns", "sleep", "c/rootfs", "c/rootfs/usr"] {
        archive = archive.dir(dir);
    }
    let configs = [
        ("c", config(&["/bin/sh", "/inside"], false)),
        ("sleep", config(&["/bin/sleep", "300"], false)),
        ("c-userns", config(&["/bin/sh", "/escape", "/inside"], true)),
    ];
    for (dir, config) in configs {
        archive = archive.file(&format!("{dir}/config.json"), 0o644, config.as_bytes());
    }
    for script in ["inside", "escape"] {
        let from = paths::tool(&format!("guest/{script}.sh"));
        archive = archive.copy(&from, &format!("c/rootfs/{script}"))?;
    }
    archive.file("host-file", 0o644, b"").add_busybox("c/rootfs/")
}

/// Returns the `config.json` of a container that runs a command. With a user namespace it has
/// `CAP_SYS_ADMIN` there, and what else it takes to make mounts and to enter namespaces.
fn config(command: &[&str], user_namespace: bool) -> String {
    let mut namespaces = vec!["pid", "mount", "ipc", "uts", "network"];
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": command,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "/c/rootfs", "readonly": true },
        "hostname": "c",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        ],
    });
    if user_namespace {
        let all =
            ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"];
        namespaces.push("user");
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        config["linux"] = json!({ "uidMappings": map, "gidMappings": map });
        config["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all, "inheritable": all });
    }
    let namespaces = namespaces.iter().map(|kind| json!({ "type": kind }));
    config["linux"]["namespaces"] = namespaces.collect();
    config.to_string()
}
