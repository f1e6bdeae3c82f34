#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the new root: the programs that torcx brings are looked for in /usr/bin too, where one
# and the same script stands for each.
set -eu
cd /usr/bin
for program in containerd containerd-shim containerd-shim-runc-v1 containerd-shim-runc-v2 ctr docker-containerd \
    docker-containerd-shim docker-init docker-proxy docker-runc dockerd runc tini; do
    cp -p docker "$program"
done
